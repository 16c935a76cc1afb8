package invokerhook

import (
	"bytes"
	"strings"

	"github.com/weft-stream/weft/openwhisk"
)

// stageMark is in every message on an activation of a stage: all stages' actions are in packages of that name.
const stageMark = ".stages"

// foreign tells from a look at its bytes that a message is one of its topic, and on an activation of somebody
// else's action. The topics have all activations of the platform, of which few are a pipeline's: only those
// are worth the parsing. What it is unsure of is parsed.
func foreign(topic string, value []byte) bool {
	shape := `"activationId":"`
	switch {
	case strings.HasPrefix(topic, "completed"):
		shape = `"response":{` // with the activation itself, which names its action; one that has only the id doesn't
	case topic == openwhisk.TopicEvents:
		shape = `"eventType":"`
	case topic == openwhisk.TopicHealth:
		return false
	}
	return bytes.HasPrefix(value, []byte(`{"`)) && bytes.HasSuffix(value, []byte("}")) &&
		bytes.Contains(value, []byte(shape)) && !bytes.Contains(value, []byte(stageMark))
}
