package kafkatest

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/weft-stream/weft/internal/jars"
)

// Version of Apache Kafka that is run.
const Version = "4.4.0"

// EnvLibs names a folder with the jars of org.apache.kafka:kafka_2.13, for machines that can't download them.
const EnvLibs = "WEFT_KAFKA_LIBS"

// ErrMissing says that Kafka can't run here.
var ErrMissing = errors.New("kafkatest: Apache Kafka can't run here")

// Libs returns the folder of Kafka's jars; if they aren't on this machine yet, they are downloaded.
func Libs(ctx context.Context) (string, error) {
	if dir := os.Getenv(EnvLibs); dir != "" {
		return dir, nil
	}
	// And a logger, which Kafka itself leaves to its packaging.
	dir, err := jars.Folder(ctx, "kafka-"+Version, "org.apache.kafka:kafka_2.13:"+Version, "org.slf4j:slf4j-simple:1.7.36")
	if errors.Is(err, jars.ErrMissing) {
		return "", fmt.Errorf("%w: %w; or set %s to a folder with Kafka's jars", ErrMissing, err, EnvLibs)
	}
	return dir, err
}
