package pipeline

import (
	"encoding/json"

	"github.com/invopop/jsonschema"
)

// SchemaID is where the schema is published.
const SchemaID = "https://weft-stream.github.io/schema/pipeline-v1.json"

// Schema is the JSON Schema (2020-12) of a pipeline file, generated from Spec.
func Schema() ([]byte, error) {
	r := &jsonschema.Reflector{DoNotReference: false}
	s := r.Reflect(&Spec{})
	s.ID = SchemaID
	s.Title = "Weft pipeline"
	b, err := json.MarshalIndent(s, "", "  ")
	return append(b, '\n'), err
}
