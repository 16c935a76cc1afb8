package arena

import (
	"errors"
	"fmt"
	"os"
	"sync"

	"github.com/weft-stream/weft/internal/shm"
)

// Loans is what one peer has lent over one stream: its files by their numbers, mapped to read. What lies in them
// is the peer's to change at any moment.
type Loans struct {
	mu    sync.Mutex
	files [MaxFiles]*Loan
	known int
	over  bool
}

// ErrLoan says that what was lent is not what may be lent, or not in order.
var ErrLoan = errors.New("arena: lent against the rules")

// Loan is a file that was lent, mapped as long as anybody holds it.
type Loan struct {
	of     *Loans
	memory *shm.Memory
	refs   int // belongs to of.mu
}

// Take maps the file that the peer lends under a number, and closes it. The numbers come in order, from 0. Where the
// system has no room for it, it is not mapped and nothing may refer to it.
func (l *Loans) Take(number uint32, f *os.File) (mapped bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.over || int(number) != l.known || l.known == MaxFiles {
		shm.Discard(f)
		return false, fmt.Errorf("%w: file %d after %d", ErrLoan, number, l.known)
	}
	memory, err := shm.MapLent(f, MaxSize)
	shm.Discard(f)
	if errors.Is(err, shm.ErrFile) {
		return false, fmt.Errorf("%w: file %d: %w", ErrLoan, number, err)
	}
	if err == nil {
		l.files[number] = &Loan{of: l, memory: memory, refs: 1}
	}
	l.known++
	return err == nil, nil
}

// Resolve gives the bytes that a reference leads to, and the loan that they are in, which the caller releases.
func (l *Loans) Resolve(x Reference) ([]byte, *Loan, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.over || int64(x.File) >= int64(l.known) || l.files[x.File] == nil {
		return nil, nil, fmt.Errorf("%w: to file %d of %d", ErrReference, x.File, l.known)
	}
	loan := l.files[x.File]
	b := loan.memory.Bytes()
	if x.At > uint64(len(b)) || x.Length > uint64(len(b))-x.At {
		return nil, nil, fmt.Errorf("%w: %d bytes at %d of %d", ErrReference, x.Length, x.At, len(b))
	}
	loan.refs++
	return b[x.At : x.At+x.Length : x.At+x.Length], loan, nil
}

// Close ends the loans: a file stays mapped as long as somebody holds it.
func (l *Loans) Close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.over {
		return
	}
	l.over = true
	for _, loan := range l.files[:l.known] {
		if loan != nil {
			loan.drop()
		}
	}
}

// Retain adds a hold.
func (l *Loan) Retain() {
	l.of.mu.Lock()
	defer l.of.mu.Unlock()
	l.refs++
}

// Release gives a hold back.
func (l *Loan) Release() {
	l.of.mu.Lock()
	defer l.of.mu.Unlock()
	l.drop()
}

// drop gives a hold back. The caller holds of.mu.
func (l *Loan) drop() {
	if l.refs--; l.refs == 0 {
		_ = l.memory.Close()
	}
}
