package invokerhook

import (
	"slices"

	"github.com/IBM/sarama"
	"github.com/rs/zerolog"
)

// transactionsV2 tells whether a cluster has agreed on the transactions of KIP-890, with which a commit or an
// abort that comes late can't end the producer's next transaction.
func transactionsV2(r *sarama.ApiVersionsResponse) bool {
	return r.FinalizedFeaturesEpoch >= 0 && slices.ContainsFunc(r.FinalizedFeatures, func(f sarama.FinalizedFeatureKey) bool {
		return f.Name == "transaction.version" && f.MaxVersionLevel >= 2
	})
}

// warnOfTransactions says so when the brokers have older ones. What can't be asked is not told.
func warnOfTransactions(client sarama.Client, log zerolog.Logger) {
	b := client.LeastLoadedBroker()
	if b == nil {
		return
	}
	r, err := b.ApiVersions(&sarama.ApiVersionsRequest{Version: 3, ClientSoftwareName: "weft", ClientSoftwareVersion: "1"})
	if err == nil && r.ErrorCode == int16(sarama.ErrUnsupportedVersion) || err == nil && r.ErrorCode == 0 && !transactionsV2(r) {
		log.Warn().Msg("Kafka has no transactions of version 2 (transaction.version=2, Kafka 4.0 and later): a write whose answer was lost may, in rare cases, end the next one early. Hooks write again with a new producer then; better is a newer Kafka")
	}
}
