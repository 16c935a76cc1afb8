package localwhisk

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"
)

// logPoll is the time between two looks at a log file, as OpenWhisk has it.
const logPoll = 5 * time.Millisecond

// readAhead bounds what one look takes of a log file.
const readAhead = 1 << 20

// logFile is a container's log as Docker's json-file driver writes it. It is
// read from where the activation before has ended.
type logFile struct {
	path   string
	file   *os.File // opened at the first look
	offset int64    // bytes that activations have taken
}

func openLogFile(path string) *logFile { return &logFile{path: path} }

func (f *logFile) close() {
	if f.file != nil {
		f.file.Close()
	}
}

// setOff has nothing to do: what nobody reads stays in the file.
func (f *logFile) setOff(bool) {}

func (f *logFile) ready() <-chan struct{} {
	ready := make(chan struct{})
	time.AfterFunc(logPoll, func() { close(ready) })
	return ready
}

// take reads whole lines. The file may not be there yet.
func (f *logFile) take(ends int) ([]logLine, error) {
	if f.file == nil {
		file, err := os.Open(f.path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil, nil
		case err != nil:
			return nil, fmt.Errorf("read the container's log, which only root may unless Docker is told otherwise: %w", err)
		}
		f.file = file
	}
	buf := make([]byte, readAhead)
	n, err := f.file.ReadAt(buf, f.offset)
	if err != nil && err != io.EOF {
		return nil, fmt.Errorf("read the container's log: %w", err)
	}
	var out []logLine
	for buf = buf[:n]; ends > 0; {
		line, rest, whole := bytes.Cut(buf, []byte("\n"))
		if !whole {
			break
		}
		l, err := parseLogLine(line)
		if err != nil {
			return out, err
		}
		if l.end() {
			ends--
		}
		out = append(out, l)
		f.offset += int64(len(line) + 1)
		buf = rest
	}
	return out, nil
}

// parseLogLine reads {"log":"text\n","stream":"stdout","time":"2026-…"}.
func parseLogLine(b []byte) (logLine, error) {
	var entry struct {
		Log    string    `json:"log"`
		Stream string    `json:"stream"`
		Time   time.Time `json:"time"`
	}
	if err := json.Unmarshal(b, &entry); err != nil {
		return logLine{}, fmt.Errorf("read the container's log: %w", err)
	}
	return logLine{entry.Time, entry.Stream, strings.TrimRight(entry.Log, "\r\n")}, nil
}
