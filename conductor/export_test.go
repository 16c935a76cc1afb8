package conductor

// Load reads a snapshot without taking over.
func Load(snapshot []byte) (*Brain, error) { return load(snapshot) }
