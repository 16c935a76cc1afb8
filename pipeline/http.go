package pipeline

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"
)

// httpIn checks an HTTP source. What it has accepted is in weft's memory alone: no guarantee but
// best-effort holds for that.
func (c *checker) httpIn(at string, s HTTPInSpec) *HTTPIn {
	if why := badListen(s.Listen); why != "" {
		c.problemAt(at+".listen", fmt.Sprintf("listen %q: %s; want HOST:PORT, for instance 127.0.0.1:8080", s.Listen, why))
	}
	out := &HTTPIn{Listen: s.Listen, Path: s.Path}
	if out.Path == "" {
		out.Path = "/"
	}
	if u, err := url.Parse(out.Path); err != nil || out.Path[0] != '/' || u.Path != out.Path || u.Host != "" {
		c.problemAt(at+".path", fmt.Sprintf("path %q: want / and plain characters, for instance /events", s.Path))
	}
	switch g := c.spec.Spec.Guarantee; Guarantee(g) {
	case "", AtLeastOnce:
		c.problemAt(at, "an http source has no journal yet: what it has accepted is lost when weft run dies, which at-least-once (the default) rules out; write guarantee: best-effort")
	}
	return out
}

// badListen says what is wrong with an address to listen at; "" when nothing is.
func badListen(addr string) string {
	u, err := url.Parse("tcp://" + addr)
	if err != nil || u.Host != addr || strings.ContainsAny(addr, "@%") {
		return "not an address"
	}
	port, err := strconv.Atoi(u.Port())
	switch {
	case u.Hostname() == "":
		return "the host is missing (0.0.0.0 is every address of the machine)"
	case u.Port() == "":
		return "the port is missing"
	case err != nil || port > 65535:
		return "the port is over 65535"
	}
	return ""
}

// httpOut checks an HTTP sink.
func (c *checker) httpOut(at string, s HTTPOutSpec) *HTTPOut {
	u, err := url.Parse(s.URL)
	switch {
	case err != nil || u.Hostname() == "" || u.Scheme != "http" && u.Scheme != "https" || u.Fragment != "":
		c.problemAt(at+".url", fmt.Sprintf("url %q: want http://HOST[:PORT]/PATH or https://…", s.URL))
	case u.User != nil:
		c.problemAt(at+".url", "a user or password in a url would be kept by the platform, for all to read; remove it")
	}
	return &HTTPOut{URL: s.URL}
}
