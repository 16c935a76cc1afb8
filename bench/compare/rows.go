package compare

func hopRow(name, what, aim, of, value, reference string) rowSpec {
	return rowSpec{name: name, what: what, unit: "µs a hop, p50", aim: aim, of: of, value: metric{value, hop}, reference: metric{reference, hop}}
}

// rowSpecs lists the rows: names and aims are fixed, so that two runs can be compared.
func rowSpecs() []rowSpec {
	return append(append(latencyRows(), payloadRows()...), loadRows()...)
}

func latencyRows() []rowSpec {
	const shm = "Go to Go, 9 processes"
	return []rowSpec{
		hopRow("hop-go-shm-64", shm+", 64 B", "<=2", "futex chain, on one processor as well", "weft-9-64", "futex-9-64-together"),
		hopRow("hop-go-shm-1k", shm+", 1 KiB", "<=2", "futex chain, on one processor as well", "weft-9-1k", "futex-9-1k-together"),
		hopRow("hop-go-kafka-64", shm+", 64 B", "<=0.01", "Kafka chain", "weft-9-64", "kafka-9-64"),
		hopRow("hop-go-kafka-1k", shm+", 1 KiB", "<=0.01", "Kafka chain", "weft-9-1k", "kafka-9-1k"),
		hopRow("hop-py-kafka", "Python to Python, 9 processes", "<=0.05", "Kafka chain in Python", "weft-py-9", "kafka-py-9"),
		hopRow("hop-fused", "5 fused functions in Go", "<=3", "goroutine channels", "weft-fused-5", "channel-5"),
		hopRow("hop-quic", "mesh to mesh over QUIC", "<=1.3", "raw quic-go", "mesh-quic-2", "quic-2"),
		hopRow("hop-quic-kafka", "Go to Go over QUIC, 9 processes", "<=0.1", "Kafka chain", "weft-quic-9", "kafka-9-64"),
		hopRow("depth-17", "17 functions", "<=1.3", "5 functions", "weft-17-64", "weft-5-64"),
		hopRow("vs-nats", shm+", 64 B", "<=0.25", "NATS", "weft-9-64", "nats-9"),
		hopRow("vs-jetstream", shm+", 64 B", "<=0.05", "JetStream", "weft-9-64", "jetstream-9"),
		hopRow("vs-flink", "3 functions at 1,000 events/s", "<=0.3333", "Flink, time-out 0", "weft-3-1000", "flink-3-1000"),
	}
}

func payloadRows() []rowSpec {
	return []rowSpec{
		hopRow("payload-ref-1m", "Go to Go, 2 processes, 1 MiB by reference", "<=1.5", "64 B, as often", "weft-ref-1m", "weft-ref-64"),
		hopRow("payload-ref-64m", "Go to Go, 2 processes, 64 MiB by reference", "<=1.5", "64 B, as often", "weft-ref-64m", "weft-ref-64"),
		{name: "payload-copy", what: "mesh over shared memory, 1 MiB events copied", unit: "GB/s", aim: ">=0.7", of: "memcpy, in and out",
			value: metric{"mesh-shm-bulk", bandwidth}, reference: metric{"memcpy-1m", bandwidth}},
		{name: "quic-bulk", what: "mesh over QUIC, 1 MiB events", unit: "GB/s", aim: ">=1", of: "TLS over TCP",
			value: metric{"mesh-quic-bulk", bandwidth}, reference: metric{"tls-bulk", bandwidth}},
		{name: "vs-http-64", what: "there and back, 64 B", unit: "µs, p50", aim: "<=0.05", of: "POST /run",
			value: metric{"weft-3-1000", whole}, reference: metric{"http-64", whole}},
		{name: "vs-http-1m", what: "there and back, 1 MiB", unit: "µs, p50", aim: "<=0.01", of: "POST /run",
			value: metric{"weft-3-1m", whole}, reference: metric{"http-1m", whole}},
	}
}

func loadRows() []rowSpec {
	full := func(name, aim, of, value, reference string) rowSpec {
		return rowSpec{name: name, what: "3 functions in Go, 100 B, as fast as it goes", unit: "events/s", aim: aim, of: of,
			value: metric{value, rate}, reference: metric{reference, rate}}
	}
	cost := func(name, what, aim, value, reference string) rowSpec {
		return rowSpec{name: name, what: what, unit: "µs of CPU an event and hop", aim: aim, of: "Kafka's clients and broker",
			value: metric{value, cpu}, reference: metric{reference, cpu}}
	}
	return []rowSpec{
		full("throughput-kafka", ">=5", "Kafka chain", "weft-3-full", "kafka-3-full"),
		full("throughput-flink", ">=0.5", "Flink, unchained", "weft-3-full", "flink-3-full"),
		full("throughput-fused", ">=2", "Flink, unchained", "weft-fused-3-full", "flink-3-full"),
		hopRow("wake-free", "mesh to mesh, 2 processes, 20,000 events/s", "<=3", "spinning", "mesh-shm-2-20k", "spin-2"),
		hopRow("wake-full", "mesh to mesh, 9 processes, 4,000 events/s", "<=1.2", "the same, never spinning", "mesh-shm-9-4k", "mesh-shm-9-4k-still"),
		cost("cpu-saturated", "as fast as it goes", "<=0.2", "weft-3-full", "kafka-3-full"),
		cost("cpu-paced", "at 1,000 events/s", "<=0.05", "weft-5-1000", "kafka-5-1000"),
		{name: "idle-50", what: "50 idle workers", unit: "of a core", aim: "<=0.01", value: metric{"weft-idle-50", share}},
	}
}
