package localwhisk

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// page are a list call's bounds.
type page struct {
	limit, skip int
	count       bool
}

// page reads limit, skip and count of a list of the collection.
func (r *request) page(collection string) (page, error) {
	p := page{limit: 30}
	q := r.URL.Query()
	for name, to := range map[string]*int{"limit": &p.limit, "skip": &p.skip} {
		s := q.Get(name)
		if s == "" {
			continue
		}
		n, err := strconv.Atoi(s)
		text := ""
		switch {
		case err != nil:
			text = fmt.Sprintf("The value '%s' is not an integer for %s.", s, collection)
		case name == "limit" && (n < 0 || n > 200):
			text = fmt.Sprintf("The value '%d' is not in the range of 0 to 200 for %s.", n, collection)
		case n < 0:
			text = fmt.Sprintf("The value '%d' is not greater than or equal to 0 for %s.", n, collection)
		}
		if text != "" {
			return p, malformedQuery(name, text)
		}
		*to = n
	}
	if p.limit == 0 {
		p.limit = 200
	}
	p.count = q.Get("count") == "true"
	return p, nil
}

// counted answers how many there are behind those that are skipped.
func (p page) counted(collection string, n int) map[string]int {
	return map[string]int{collection: max(0, n-p.skip)}
}

// pageOf is the page of a list.
func pageOf[T any](all []T, p page) []T {
	lo := min(p.skip, len(all))
	return append([]T{}, all[lo:min(lo+p.limit, len(all))]...)
}

// listEntities answers with a page of a collection, newest first, each entity as entry shows it.
func listEntities[T any, P interface {
	*T
	dated
}](s *rest, r *request, collection string, table map[string]*T, entry func(*T) map[string]any) error {
	p, err := r.page(collection)
	if err != nil {
		return err
	}
	all := newest[T, P](s.p.store, table, nil)
	if p.count {
		return r.answer(p.counted(collection, len(all)))
	}
	docs := []any{}
	for _, e := range pageOf(all, p) {
		docs = append(docs, entry(e))
	}
	return r.answer(docs)
}

// kinds lists the runtimes' kinds in order.
func (p *Platform) kinds() []string {
	out := make([]string, 0, len(p.cfg.Runtimes))
	for k := range p.cfg.Runtimes {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

// cut splits "guest/pkg" at its slash.
func cut(path string) (ns, pkg string, found bool) { return strings.Cut(path, "/") }

func unescape(s string) string {
	if u, err := url.PathUnescape(s); err == nil {
		return u
	}
	return s
}
