package frame_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/weft-stream/weft/quicmesh/frame"
)

var update = flag.Bool("update", false, "write testdata/vectors.json anew")

const vectorsFile = "testdata/vectors.json"

// vectors are the golden frames that every SDK reads and writes. Numbers of 64 bits are decimal
// strings: not every language's JSON holds them. Byte strings are hexadecimal.
type vectors struct {
	Valid   []vector  `json:"valid"`
	Invalid []invalid `json:"invalid"`
}

type vector struct {
	Name       string      `json:"name"`
	Hex        string      `json:"hex"`
	Type       frame.Type  `json:"type"`
	Flags      uint8       `json:"flags"`
	Edge       uint16      `json:"edge"`
	Attempt    uint64      `json:"attempt,string"`
	Seq        uint64      `json:"seq,string"`
	KeyHash    uint64      `json:"keyHash,string"`
	EventTime  int64       `json:"eventTime,string"`
	Sent       int64       `json:"sent,string"`
	ID         string      `json:"id"`
	Key        string      `json:"key"`
	Headers    string      `json:"headers"`
	HeaderList [][2]string `json:"headerList"` // text
	Payload    string      `json:"payload"`
}

// invalid is what a reader must not take: "short" is the beginning of a frame, "bounds" is none.
type invalid struct {
	Name  string `json:"name"`
	Hex   string `json:"hex"`
	Error string `json:"error"`
}

func readVectors(t testing.TB) vectors {
	t.Helper()
	b, err := os.ReadFile(vectorsFile)
	if err != nil {
		t.Fatal(err)
	}
	var v vectors
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

func (v vectors) all() [][]byte {
	var out [][]byte
	for _, c := range v.Valid {
		out = append(out, unhex(c.Hex))
	}
	for _, c := range v.Invalid {
		out = append(out, unhex(c.Hex))
	}
	return out
}

func unhex(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return b
}

// example is the frame that FRAME.md explains.
var example = frame.Frame{
	Header: frame.Header{
		Type: frame.Data, Edge: 2, Attempt: frame.MakeAttempt(1, 3), Seq: 42, KeyHash: 0x1122334455667788,
		EventTime: 1_700_000_000_000_000, Sent: 1_700_000_000_250_000,
	},
	ID:      []byte("in/0/7"),
	Key:     []byte("cat"),
	Headers: frame.AppendHeader(nil, "tp", "00"),
	Payload: []byte(`{"n":1}`),
}

// samples are the frames of the vectors, by name.
func samples() ([]string, []frame.Frame) {
	var names []string
	var frames []frame.Frame
	add := func(name string, f frame.Frame) { names, frames = append(names, name), append(frames, f) }
	add("data", example)
	add("data, empty", frame.Frame{Header: frame.Header{Type: frame.Data}})
	add("data, every bit set", frame.Frame{Header: frame.Header{
		Type: 0xFF, Flags: 0xFF, Edge: frame.AllEdges, Attempt: 1<<64 - 1, Seq: 1<<64 - 1, KeyHash: 1<<64 - 1,
		EventTime: -1, Sent: -1,
	}})
	headers := frame.AppendHeader(frame.AppendHeader(nil, "traceparent", "00-4bf9-00f0-01"), "größe", "")
	add("data, utf-8 and zero bytes", frame.Frame{
		Header: frame.Header{Type: frame.Data, Edge: frame.AllEdges, Seq: 1, EventTime: -62_135_596_800_000_000},
		ID:     []byte("é/1"), Key: []byte{0}, Headers: headers, Payload: []byte("{\"s\":\"日本\"}"),
	})
	add("barrier", frame.Frame{
		Header: frame.Header{Type: frame.Barrier, Attempt: 1 << 32, Seq: 8}, Payload: frame.AppendBarrier(nil, 300, 0),
	})
	add("end", frame.Frame{Header: frame.Header{Type: frame.End, Attempt: 1 << 32, Seq: 9}})
	add("ack", frame.Frame{Header: frame.Header{Type: frame.Ack, Seq: 8}})
	add("credit", frame.Frame{Header: frame.Header{Type: frame.Credit, Seq: 1 << 40}})
	add("hello", frame.Frame{Header: frame.Header{Type: frame.Hello}, Payload: []byte(`{}`)})
	add("welcome", frame.Frame{Header: frame.Header{Type: frame.Welcome, Seq: 7}, Payload: []byte(`{}`)})
	add("bye", frame.Frame{Header: frame.Header{Type: frame.Bye}, Payload: []byte("not upstream")})
	add("start", frame.Frame{
		Header:  frame.Header{Type: frame.Start, Attempt: 1 << 32},
		Payload: []byte(`{"pipeline":"words","stage":"count","slot":0,"replicas":2,"parameters":{},"stateful":true}`),
	})
	add("ready", frame.Frame{Header: frame.Header{Type: frame.Ready, Attempt: 1 << 32}})
	add("done", frame.Frame{Header: frame.Header{Type: frame.Done, Attempt: 1 << 32, Seq: 5}})
	add("done, cumulative", frame.Frame{
		Header: frame.Header{Type: frame.Done, Flags: frame.Cumulative, Attempt: 1 << 32, Seq: 1024},
	})
	add("error", frame.Frame{
		Header: frame.Header{Type: frame.Error, Attempt: 1 << 32, Seq: 6}, Payload: []byte(`{"error":"no such word"}`),
	})
	return names, frames
}

func describe(name string, f frame.Frame) vector {
	v := vector{
		Name: name, Hex: hex.EncodeToString(f.Append(nil)), Type: f.Type, Flags: f.Flags, Edge: f.Edge,
		Attempt: uint64(f.Attempt), Seq: f.Seq, KeyHash: f.KeyHash, EventTime: f.EventTime, Sent: f.Sent,
		ID: hex.EncodeToString(f.ID), Key: hex.EncodeToString(f.Key), Headers: hex.EncodeToString(f.Headers),
		HeaderList: [][2]string{}, Payload: hex.EncodeToString(f.Payload),
	}
	err := frame.EachHeader(f.Headers, func(name, value []byte) bool {
		v.HeaderList = append(v.HeaderList, [2]string{string(name), string(value)})
		return true
	})
	if err != nil {
		panic(err)
	}
	return v
}

// spoilt are byte strings that are no frames.
func spoilt() []invalid {
	whole := example.Append(nil)
	change := func(at int, b ...byte) string {
		c := bytes.Clone(whole)
		copy(c[at:], b)
		return hex.EncodeToString(c)
	}
	return []invalid{
		{"nothing", "", "short"},
		{"half a header", hex.EncodeToString(whole[:28]), "short"},
		{"a header without its body", hex.EncodeToString(whole[:frame.HeaderSize]), "short"},
		{"the last byte is missing", hex.EncodeToString(whole[:len(whole)-1]), "short"},
		{"length above the largest body", change(4, 0x01, 0x00, 0x10, 0x40), "bounds"},
		{"length of all ones", change(4, 0xFF, 0xFF, 0xFF, 0xFF), "bounds"},
		{"id longer than the body", change(48, 0xFF, 0xFF), "bounds"},
		{"key longer than the body", change(50, 0xFF, 0xFF), "bounds"},
		{"headers longer than the body", change(52, 0xFF, 0xFF, 0xFF, 0xFF), "bounds"},
		{"id, key and headers together longer than the body", change(48, 8, 0, 8, 0, 9), "bounds"},
	}
}

func TestVectors(t *testing.T) {
	var made vectors
	names, frames := samples()
	for i, f := range frames {
		made.Valid = append(made.Valid, describe(names[i], f))
	}
	made.Invalid = spoilt()
	var b bytes.Buffer
	out := json.NewEncoder(&b)
	out.SetEscapeHTML(false)
	out.SetIndent("", "  ")
	if err := out.Encode(made); err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(vectorsFile, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	golden, err := os.ReadFile(vectorsFile)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(golden, b.Bytes()) {
		t.Errorf("%s is not what this code writes; if the format was meant to change, run with -update", vectorsFile)
	}
	for _, v := range readVectors(t).Valid {
		f, n, err := frame.Parse(unhex(v.Hex))
		if err != nil || n != len(v.Hex)/2 || describe(v.Name, f).Hex != v.Hex || f.Seq != v.Seq {
			t.Errorf("%s: %+v, %d, %v", v.Name, f, n, err)
		}
	}
	verdicts := map[error]string{frame.ErrShort: "short", frame.ErrBounds: "bounds"}
	for _, v := range readVectors(t).Invalid {
		if _, _, err := frame.Parse(unhex(v.Hex)); verdicts[err] != v.Error {
			t.Errorf("%s: %v, want %s", v.Name, err, v.Error)
		}
	}
}

// TestSpecificationsExample reads the hex dump in FRAME.md.
func TestSpecificationsExample(t *testing.T) {
	text, err := os.ReadFile("FRAME.md")
	if err != nil {
		t.Fatal(err)
	}
	var dump strings.Builder
	for _, line := range regexp.MustCompile(`(?m)^[0-9a-f]{4}  ((?:[0-9a-f]{2} )+)`).FindAllSubmatch(text, -1) {
		dump.WriteString(strings.ReplaceAll(string(line[1]), " ", ""))
	}
	if want := hex.EncodeToString(example.Append(nil)); dump.String() != want {
		t.Errorf("FRAME.md's example is %s, want %s", dump.String(), want)
	}
}
