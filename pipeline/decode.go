package pipeline

import (
	"errors"
	"fmt"
	"reflect"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// MaxSpec bounds a spec's file, in bytes.
const MaxSpec = 1 << 20

// decoder fills Go values from a YAML tree. It goes on after an error, so that all of them are
// reported, and remembers where each value stands, so that later checks can point at it.
type decoder struct {
	file     string
	lines    []string
	at       map[string]*token.Token // by path: "spec.vertices[1].function.kind"
	problems Problems
}

func newDecoder(file string, src []byte) *decoder {
	return &decoder{file: file, lines: strings.Split(string(src), "\n"), at: map[string]*token.Token{}}
}

// decode parses src into v. false: it isn't YAML at all.
func (d *decoder) decode(src []byte, v any) bool {
	if len(src) > MaxSpec {
		d.problem(1, 1, fmt.Sprintf("the file has %d bytes; at most %d are read", len(src), MaxSpec))
		return false
	}
	tree, err := parser.ParseBytes(src, 0)
	if err != nil {
		var se *yaml.SyntaxError
		if errors.As(err, &se) && se.Token != nil {
			d.problem(se.Token.Position.Line, se.Token.Position.Column, "not YAML: "+se.Message)
		} else {
			d.problem(1, 1, "not YAML: "+err.Error())
		}
		return false
	}
	if len(tree.Docs) != 1 || !isMapping(tree.Docs[0].Body) {
		d.problem(1, 1, "want one YAML document with apiVersion, kind, metadata and spec")
		return false
	}
	d.value(tree.Docs[0].Body, reflect.ValueOf(v).Elem(), "")
	return true
}

// value fills v from n, which stands at path.
func (d *decoder) value(n ast.Node, v reflect.Value, path string) {
	d.at[path] = n.GetToken()
	switch n.(type) {
	case *ast.AnchorNode, *ast.AliasNode, *ast.TagNode, *ast.MergeKeyNode:
		d.problemAt(path, "anchors, aliases and tags are not allowed here")
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		d.value(n, v.Elem(), path)
	case reflect.Struct:
		d.structure(n, v, path)
	case reflect.Slice:
		d.sequence(n, v, path)
	case reflect.Map:
		d.mapping(n, v, path)
	default:
		d.scalar(n, v, path)
	}
}

func (d *decoder) structure(n ast.Node, v reflect.Value, path string) {
	pairs, ok := pairsOf(n)
	if !ok {
		d.problemAt(path, strings.TrimSuffix("want a mapping with "+strings.Join(keysOf(v.Type()), ", "), " with "))
		return
	}
	seen := map[string]bool{}
	for _, kv := range pairs {
		key := kv.Key.GetToken().Value
		sub := join(path, key)
		d.at[sub] = kv.Key.GetToken()
		field, ok := fieldOf(v, key)
		switch {
		case !ok:
			d.problemAt(sub, fmt.Sprintf("unknown key %q%s", key, didYouMean(key, keysOf(v.Type()))))
		case seen[key]:
			d.problemAt(sub, fmt.Sprintf("key %q is given twice", key))
		default:
			seen[key] = true
			d.value(kv.Value, field, sub)
		}
	}
}

func (d *decoder) sequence(n ast.Node, v reflect.Value, path string) {
	seq, ok := n.(*ast.SequenceNode)
	if !ok {
		d.problemAt(path, "want a list")
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), len(seq.Values), len(seq.Values)))
	for i, item := range seq.Values {
		d.value(item, v.Index(i), fmt.Sprintf("%s[%d]", path, i))
	}
}

// mapping fills a map[string]string or map[string]any.
func (d *decoder) mapping(n ast.Node, v reflect.Value, path string) {
	pairs, ok := pairsOf(n)
	if !ok {
		d.problemAt(path, "want a mapping")
		return
	}
	v.Set(reflect.MakeMap(v.Type()))
	for _, kv := range pairs {
		key := kv.Key.GetToken().Value
		elem := reflect.New(v.Type().Elem()).Elem()
		if elem.Kind() == reflect.Interface {
			var plain any
			if err := yaml.NodeToValue(kv.Value, &plain); err != nil {
				d.problemAt(path, fmt.Sprintf("%s: %v", key, err))
				continue
			}
			elem.Set(reflect.ValueOf(&plain).Elem())
		} else {
			d.value(kv.Value, elem, join(path, key))
		}
		v.SetMapIndex(reflect.ValueOf(key), elem)
	}
}

func (d *decoder) scalar(n ast.Node, v reflect.Value, path string) {
	want := map[reflect.Kind]string{reflect.String: "a text", reflect.Bool: "true or false",
		reflect.Int: "a whole number", reflect.Int64: "a whole number", reflect.Float64: "a number"}[v.Kind()]
	switch n.(type) {
	case *ast.MappingNode, *ast.MappingValueNode, *ast.SequenceNode, *ast.NullNode:
		d.problemAt(path, "want "+want)
		return
	}
	if v.Kind() == reflect.String {
		// A text may look like a number or a truth value: name: 1 is a name.
		v.SetString(n.GetToken().Value)
		if s, ok := n.(*ast.StringNode); ok {
			v.SetString(s.Value)
		}
		return
	}
	if err := yaml.NodeToValue(n, v.Addr().Interface()); err != nil {
		d.problemAt(path, fmt.Sprintf("%q is not %s", n.GetToken().Value, want))
		delete(d.at, path) // it counts as not given: one problem is enough
	}
}

// problemAt reports at the value of path, or at the nearest of its parents that is in the file.
func (d *decoder) problemAt(path, text string) {
	for p := path; ; p = parent(p) {
		if t, ok := d.at[p]; ok {
			d.problem(t.Position.Line, t.Position.Column, text)
			return
		}
		if p == "" {
			d.problem(1, 1, text)
			return
		}
	}
}

func (d *decoder) problem(line, column int, text string) {
	p := Problem{File: d.file, Line: line, Column: column, Text: text}
	if line >= 1 && line <= len(d.lines) {
		p.Source = strings.TrimRight(d.lines[line-1], "\r")
	}
	d.problems = append(d.problems, p)
}

func isMapping(n ast.Node) bool {
	_, ok := pairsOf(n)
	return ok
}

func pairsOf(n ast.Node) ([]*ast.MappingValueNode, bool) {
	switch m := n.(type) {
	case *ast.MappingNode:
		return m.Values, true
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{m}, true
	}
	return nil, false
}

func fieldOf(v reflect.Value, key string) (reflect.Value, bool) {
	for i := range v.NumField() {
		if keyOf(v.Type().Field(i)) == key {
			return v.Field(i), true
		}
	}
	return reflect.Value{}, false
}

func keysOf(t reflect.Type) []string {
	var out []string
	for i := range t.NumField() {
		out = append(out, keyOf(t.Field(i)))
	}
	return out
}

func keyOf(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
	return name
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

func parent(path string) string {
	return path[:max(strings.LastIndexAny(path, ".["), 0)]
}
