package pipeline

// Spec is a pipeline file as users write it. Parse reads, checks and turns it into a Pipeline; its
// JSON Schema is generated from these types.
type Spec struct {
	APIVersion string   `json:"apiVersion" jsonschema:"enum=weft/v1"`
	Kind       string   `json:"kind" jsonschema:"enum=Pipeline"`
	Metadata   Metadata `json:"metadata"`
	Spec       Graph    `json:"spec"`
}

// Metadata names the pipeline.
type Metadata struct {
	Name string `json:"name" jsonschema:"pattern=^[A-Za-z][A-Za-z0-9_-]{0\\,62}$"`
}

// Graph is the pipeline itself.
type Graph struct {
	Guarantee  string     `json:"guarantee,omitempty" jsonschema:"enum=best-effort,enum=at-least-once,default=at-least-once"`
	Lease      string     `json:"lease,omitempty" jsonschema_description:"How long one activation holds a worker, for instance 4m; at most the platform's time limit for an action."`
	Transport  string     `json:"transport,omitempty" jsonschema:"enum=auto,enum=shm,enum=quic,default=auto" jsonschema_description:"Of the edges that say nothing else."`
	MaxPayload string     `json:"maxPayload,omitempty" jsonschema:"pattern=^[1-9][0-9]*([KMG]i)?$,default=64Mi" jsonschema_description:"Of the edges that say nothing else."`
	Fuse       string     `json:"fuse,omitempty" jsonschema:"enum=auto,enum=never,default=never" jsonschema_description:"Of the edges that say nothing else."`
	Vertices   []Vertex   `json:"vertices"`
	Edges      []EdgeSpec `json:"edges"`
}

// Vertex is a stage: exactly one of source, function and sink.
type Vertex struct {
	Name     string        `json:"name"`
	Source   *SourceSpec   `json:"source,omitempty"`
	Function *FunctionSpec `json:"function,omitempty"`
	Sink     *SinkSpec     `json:"sink,omitempty"`
	Stateful bool          `json:"stateful,omitempty" jsonschema_description:"The function keeps state between events."`
	Replicas *ReplicasSpec `json:"replicas,omitempty"`
	Standby  int           `json:"standby,omitempty" jsonschema:"minimum=0,maximum=256,default=0" jsonschema_description:"Started containers beyond the replicas, one of which goes on at once when a worker is lost."`
	Timeout  string        `json:"timeout,omitempty" jsonschema_description:"For one event, for instance 30s."`
	Retries  *int          `json:"retries,omitempty" jsonschema:"minimum=0,maximum=100"`
}

// ReplicasSpec bounds the number of workers.
type ReplicasSpec struct {
	Min int `json:"min,omitempty" jsonschema:"minimum=1,maximum=256"`
	Max int `json:"max,omitempty" jsonschema:"minimum=1,maximum=256"`
}

// SourceSpec is exactly one of file, stdin, http, ingress and generator.
type SourceSpec struct {
	File      string         `json:"file,omitempty"`
	Stdin     *Empty         `json:"stdin,omitempty"`
	HTTP      *HTTPInSpec    `json:"http,omitempty"`
	Ingress   *Empty         `json:"ingress,omitempty" jsonschema_description:"Events are invocations of the pipeline's action; a sink with reply gives their results."`
	Generator *GeneratorSpec `json:"generator,omitempty"`
	Format    string         `json:"format,omitempty" jsonschema:"enum=lines,enum=ndjson" jsonschema_description:"lines, or of http ndjson, if not given."`
}

// HTTPInSpec is a server that takes events by POST.
type HTTPInSpec struct {
	Listen string `json:"listen" jsonschema_description:"HOST:PORT on the machine of weft run; port 0 is any free one."`
	Path   string `json:"path,omitempty" jsonschema:"default=/"`
}

// GeneratorSpec makes events without input.
type GeneratorSpec struct {
	Rate  float64 `json:"rate,omitempty" jsonschema:"minimum=0"`
	Count int64   `json:"count,omitempty" jsonschema:"minimum=0"`
	Seed  int64   `json:"seed,omitempty"`
	Size  int     `json:"size,omitempty" jsonschema:"minimum=0,maximum=1000000"`
}

// FunctionSpec is exactly one of source and action.
type FunctionSpec struct {
	Source     string            `json:"source,omitempty" jsonschema_description:"A file, a folder or a zip, relative to this file."`
	Action     string            `json:"action,omitempty" jsonschema_description:"An existing action: /namespace/[package/]name."`
	Kind       string            `json:"kind,omitempty" jsonschema_description:"For instance python:3, go:1.26, nodejs:20 or java:17; by the file's ending if left out."`
	Main       string            `json:"main,omitempty"`
	Memory     int               `json:"memory,omitempty" jsonschema:"minimum=128,maximum=512" jsonschema_description:"MB"`
	Env        map[string]string `json:"env,omitempty"`
	Parameters map[string]any    `json:"parameters,omitempty"`
}

// SinkSpec is exactly one of stdout, file, http and reply.
type SinkSpec struct {
	Stdout *Empty       `json:"stdout,omitempty"`
	File   string       `json:"file,omitempty"`
	HTTP   *HTTPOutSpec `json:"http,omitempty"`
	Reply  *Empty       `json:"reply,omitempty" jsonschema_description:"What comes here is the result of the invocation it comes of."`
}

// HTTPOutSpec is a server that events are posted to.
type HTTPOutSpec struct {
	URL string `json:"url" jsonschema_description:"http:// or https://; gets batches of NDJSON by POST."`
}

// Empty is a mapping without keys: {}.
type Empty struct{}

// EdgeSpec leads events from one stage to another.
type EdgeSpec struct {
	From    string `json:"from"`
	To      string `json:"to"`
	Routing string `json:"routing,omitempty" jsonschema:"enum=balance,enum=key,enum=broadcast,enum=forward,default=balance"`
	Key     string `json:"key,omitempty" jsonschema_description:"With routing key: the path of a field, dots between its parts."`
	On      string `json:"on,omitempty" jsonschema:"enum=error" jsonschema_description:"error: the events that from failed on."`

	Transport  string `json:"transport,omitempty" jsonschema:"enum=auto,enum=shm,enum=quic" jsonschema_description:"auto: shared memory where both ends are on one host, else QUIC. shm: shared memory, or the pipeline doesn't start."`
	MaxPayload string `json:"maxPayload,omitempty" jsonschema:"pattern=^[1-9][0-9]*([KMG]i)?$" jsonschema_description:"The largest payload of an event in bytes, for instance 64Mi; 64Ki to 1Gi. A larger one goes to the error edge."`
	Fuse       string `json:"fuse,omitempty" jsonschema:"enum=auto,enum=never" jsonschema_description:"auto: both ends share a worker process where they can, and an event is a call."`
}
