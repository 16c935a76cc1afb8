package worker

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/weft-stream/weft/pipeline"
	"github.com/weft-stream/weft/quicmesh/outlet"
)

// maxLine bounds a line of a source, in bytes without its newline.
const maxLine = 1 << 20

// errLongLine is the cause when a line is over maxLine.
var errLongLine = fmt.Errorf("the line is longer than %d bytes", maxLine)

// errNotObject is the cause when an ndjson line isn't an event.
var errNotObject = errors.New("the line is not a JSON object")

// splitter cuts a source's bytes into lines that know their positions.
type splitter struct {
	from     int64 // position of the first byte not given out yet
	buf      []byte
	searched int   // bytes of buf known to hold no newline
	skipping bool  // inside a line that is too long
	began    int64 // where that line began
}

// cut is where to go on when everything given out is done with: never inside a line.
func (s *splitter) cut() int64 {
	if s.skipping {
		return s.began
	}
	return s.from
}

// line is one of a source's lines. Text is valid until the next call.
type line struct {
	position int64 // of its first byte
	text     []byte
	long     bool // text is only its beginning
}

// feed adds bytes.
func (s *splitter) feed(b []byte) { s.buf = append(s.buf, b...) }

// next gives the next whole line; with last also one without a newline.
func (s *splitter) next(last bool) (line, bool) {
	for {
		i := bytes.IndexByte(s.buf[s.searched:], '\n')
		end, taken := s.searched+i, s.searched+i+1
		if i < 0 {
			s.searched = len(s.buf)
			end, taken = len(s.buf), len(s.buf)
			if len(s.buf) == 0 || !last && len(s.buf) <= maxLine {
				return line{}, false
			}
		}
		l := line{position: s.from, text: s.buf[:end]}
		s.buf, s.searched = s.buf[taken:], 0
		s.from += int64(taken)
		rest := s.skipping // of a line that was given out as too long
		s.skipping = i < 0 && !last
		if rest {
			continue
		}
		s.began = l.position
		if len(l.text) > maxLine {
			l.text, l.long = l.text[:maxLine], true
		}
		return l, true
	}
}

// event makes a line's payload. ok is false for a line that is none: blank ndjson.
func (l line) event(f pipeline.Format) (payload []byte, ok bool, err error) {
	if l.long {
		return nil, true, errLongLine
	}
	if f != pipeline.NDJSON {
		return appendLine(nil, l.text), true, nil
	}
	text := bytes.TrimSpace(l.text)
	if len(text) == 0 {
		return nil, false, nil
	}
	if text[0] != '{' || !json.Valid(text) {
		return nil, true, errNotObject
	}
	return text, true, nil
}

// appendLine writes {"line": text}. Bytes that are not UTF-8 become lone surrogates, \udc80 to \udcff,
// as Python's surrogateescape has them, so that a function can get the bytes back.
func appendLine(b, text []byte) []byte {
	b = append(b, `{"line":`...)
	return append(outlet.AppendText(b, text), '}')
}
