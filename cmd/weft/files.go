package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync/atomic"

	"github.com/spf13/cobra"

	"github.com/weft-stream/weft/attach"
	"github.com/weft-stream/weft/pipeline"
)

// files are the flags that replace a pipeline's files, and the files once they are open.
type files struct {
	in, out, dead string

	inputs  map[string]attach.Input
	outputs map[string]io.Writer
	letters *lateFile
	opened  []io.Closer
}

func (f *files) flags(c *cobra.Command) {
	c.Flags().StringVar(&f.in, "in", "", "read the source from this file or FIFO instead (- is standard input)")
	c.Flags().StringVar(&f.out, "out", "", "write the sink to this file instead")
	c.Flags().StringVar(&f.dead, "dead", "", "file for events that failed and have no error edge (default NAME.dead.ndjson)")
}

// open opens what p's sources and sinks name, relative to dir, and listens for those that come by HTTP, so that a missing file is known before
// anything is started.
func (f *files) open(p *pipeline.Pipeline, dir string, stdout, stderr io.Writer) error {
	f.inputs, f.outputs = map[string]attach.Input{}, map[string]io.Writer{}
	sources, sinks := 0, 0
	for _, s := range p.Stages {
		var err error
		switch {
		case s.Source != nil && s.Source.Generator == nil && !s.Source.Ingress:
			sources++
			err = f.openIn(s, dir, stderr)
		case s.Sink != nil && !s.Sink.Reply:
			sinks++
			err = f.openOut(p.Name, s, dir, stdout)
		}
		if err != nil {
			f.close()
			return exitWith(exitMissing, err)
		}
	}
	if f.in != "" && sources != 1 || f.out != "" && sinks != 1 {
		f.close()
		return exitWith(exitUsage, fmt.Errorf("--in and --out replace the only source that is read here and the only sink; %s has %d and %d", p.Name, sources, sinks))
	}
	name := f.dead
	if name == "" {
		name = p.Name + ".dead.ndjson"
	}
	if info, err := os.Stat(filepath.Dir(name)); err != nil || !info.IsDir() {
		f.close()
		return exitWith(exitMissing, fmt.Errorf("dead letters: %s can't be made: there is no folder %s", name, filepath.Dir(name)))
	}
	f.letters = &lateFile{name: name}
	f.opened = append(f.opened, f.letters)
	return nil
}

func (f *files) openIn(s pipeline.Stage, dir string, note io.Writer) error {
	if h := s.Source.HTTP; h != nil && f.in == "" {
		in, err := attach.HTTPInput{Listen: h.Listen, Path: h.Path}.Open()
		if err != nil {
			return fmt.Errorf("source %s: %w", s.Name, err)
		}
		fmt.Fprintf(note, "weft: source %s takes POST %s; DELETE ends it\n", s.Name, in.URL())
		f.addIn(s.Name, in)
		return nil
	}
	name := "-"
	switch {
	case f.in != "":
		name = f.in
	case s.Source.File != "":
		name = relativeTo(dir, s.Source.File)
	}
	in, err := attach.Open(name)
	if err != nil {
		return fmt.Errorf("source %s: %w", s.Name, err)
	}
	f.addIn(s.Name, in)
	return nil
}

func (f *files) addIn(stage string, in attach.Input) {
	f.inputs[stage] = &counted{Input: in}
	f.opened = append(f.opened, in)
}

// counted is an input that knows how far it has been read.
type counted struct {
	attach.Input
	read atomic.Int64
}

func (c *counted) ReadAt(ctx context.Context, b []byte, offset int64) (int, error) {
	n, err := c.Input.ReadAt(ctx, b, offset)
	c.read.Store(max(c.read.Load(), offset+int64(n))) // one reader at a time
	return n, err
}

// readShare is how much of all inputs has been read, 0 to 1; -1 when their size is not known.
func (f *files) readShare() float64 {
	size, read := f.inputSize(), int64(0)
	if size <= 0 {
		return -1
	}
	for _, in := range f.inputs {
		read += in.(*counted).read.Load()
	}
	return float64(read) / float64(size)
}

func (f *files) openOut(name string, s pipeline.Stage, dir string, stdout io.Writer) error {
	file := f.out
	switch {
	case file != "":
	case s.Sink.Stdout:
		f.outputs[s.Name] = stdout
		return nil
	case s.Sink.HTTP != nil:
		out, err := attach.HTTPOutput{URL: s.Sink.HTTP.URL, Name: name + "/" + s.Name}.New()
		if err != nil {
			return fmt.Errorf("sink %s: %w", s.Name, err)
		}
		f.outputs[s.Name] = out
		f.opened = append(f.opened, out)
		return nil
	default:
		file = relativeTo(dir, s.Sink.File)
	}
	out, err := os.Create(file)
	if err != nil {
		return fmt.Errorf("sink %s: %w", s.Name, err)
	}
	f.outputs[s.Name] = out
	f.opened = append(f.opened, out)
	return nil
}

// inputSize is the length of all inputs in bytes; -1 when it is not known.
func (f *files) inputSize() int64 {
	total := int64(0)
	for _, in := range f.inputs {
		if in.Size() < 0 {
			return -1
		}
		total += in.Size()
	}
	return total
}

func (f *files) close() {
	for _, c := range f.opened {
		_ = c.Close() // read, or written through: nothing is held back
	}
	f.opened = nil
}

// lateFile is created by its first write: no dead letter, no file.
type lateFile struct {
	name string
	f    *os.File
	n    atomic.Int64 // lines
}

func (l *lateFile) Write(b []byte) (int, error) {
	if l.f == nil {
		f, err := os.Create(l.name)
		if err != nil {
			return 0, err
		}
		l.f = f
	}
	l.n.Add(int64(bytes.Count(b, []byte("\n"))))
	return l.f.Write(b)
}

func (l *lateFile) Close() error {
	if l.f == nil {
		return nil
	}
	return l.f.Close()
}
