package invokerhook

import (
	"testing"

	"github.com/IBM/sarama"
)

func TestTransactionsV2(t *testing.T) {
	feature := func(name string, level int16) []sarama.FinalizedFeatureKey {
		return []sarama.FinalizedFeatureKey{{Name: "metadata.version", MaxVersionLevel: 25}, {Name: name, MaxVersionLevel: level}}
	}
	for name, c := range map[string]struct {
		epoch    int64
		features []sarama.FinalizedFeatureKey
		want     bool
	}{
		"Kafka 2.7":             {-1, nil, false},
		"Kafka 3.9":             {5, feature("kraft.version", 1), false},
		"version 1":             {5, feature("transaction.version", 1), false},
		"version 2":             {5, feature("transaction.version", 2), true},
		"a later one":           {5, feature("transaction.version", 3), true},
		"nothing is agreed yet": {-1, feature("transaction.version", 2), false},
	} {
		if got := transactionsV2(&sarama.ApiVersionsResponse{FinalizedFeaturesEpoch: c.epoch, FinalizedFeatures: c.features}); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
