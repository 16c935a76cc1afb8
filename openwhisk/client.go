package openwhisk

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// maxAnswerBytes bounds what the client reads of one answer: a page of 200
// activations with their results and logs fits.
const maxAnswerBytes = 512 << 20

// Config says where the platform is and who is asking.
type Config struct {
	APIHost   string       // "host", "host:port" or a URL; https if no scheme is given
	Auth      string       // "uuid:key"
	Namespace string       // "_" (the caller's own) if empty
	Insecure  bool         // accept any TLS certificate; ignored with HTTP
	HTTP      *http.Client // nil: a client of its own, without a total time limit
}

// Client speaks OpenWhisk's REST API. It is safe for concurrent use.
type Client struct {
	base      string
	authorize string
	namespace string
	http      *http.Client
}

// NewClient makes a client; it does no I/O.
func NewClient(c Config) (*Client, error) {
	if c.APIHost == "" {
		return nil, errors.New("openwhisk: no API host: set APIHOST in ~/.wskprops or give one")
	}
	host := c.APIHost
	if !strings.Contains(host, "://") {
		host = "https://" + host
	}
	u, err := url.Parse(host)
	if err != nil || u.Host == "" {
		return nil, fmt.Errorf("openwhisk: API host %q is not a host or URL", c.APIHost)
	}
	if !strings.Contains(c.Auth, ":") {
		return nil, errors.New("openwhisk: auth has not the form uuid:key: set AUTH in ~/.wskprops or give one")
	}
	ns := c.Namespace
	if ns == "" {
		ns = DefaultNamespace
	}
	hc := c.HTTP
	if hc == nil {
		t := http.DefaultTransport.(*http.Transport).Clone()
		t.MaxIdleConnsPerHost = 64
		if c.Insecure {
			t.TLSClientConfig = &tls.Config{InsecureSkipVerify: true}
		}
		hc = &http.Client{Transport: t}
	}
	return &Client{
		base:      strings.TrimSuffix(u.Scheme+"://"+u.Host+u.Path, "/"),
		authorize: "Basic " + base64.StdEncoding.EncodeToString([]byte(c.Auth)),
		namespace: ns,
		http:      hc,
	}, nil
}

// collection is the path of a collection in the name's namespace.
func (c *Client) collection(ns, kind string) string {
	if ns == "" || ns == DefaultNamespace {
		ns = c.namespace
	}
	return "/api/v1/namespaces/" + url.PathEscape(ns) + "/" + kind
}

func (c *Client) entity(name, kind string) (string, error) {
	n, err := ParseName(name)
	if err != nil {
		return "", err
	}
	p := c.collection(n.Namespace, kind) + "/"
	if n.Package != "" {
		p += url.PathEscape(n.Package) + "/"
	}
	return p + url.PathEscape(n.Entity), nil
}

type answer struct {
	status       int
	activationID string
	body         []byte
}

// do sends one request; body nil sends none. Any HTTP status is an answer.
func (c *Client) do(ctx context.Context, method, path string, query url.Values, body any) (answer, error) {
	var rd io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return answer{}, fmt.Errorf("openwhisk: encode the body of %s %s: %w", method, path, err)
		}
		rd = bytes.NewReader(b)
	}
	u := c.base + path
	if len(query) > 0 {
		u += "?" + query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, method, u, rd)
	if err != nil {
		return answer{}, fmt.Errorf("openwhisk: %s %s: %w", method, path, err)
	}
	req.Header.Set("Authorization", c.authorize)
	if rd != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return answer{}, fmt.Errorf("openwhisk: call the API: %w", err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswerBytes))
	if err != nil {
		return answer{}, fmt.Errorf("openwhisk: read the answer to %s %s: %w", method, path, err)
	}
	return answer{resp.StatusCode, resp.Header.Get("x-openwhisk-activation-id"), b}, nil
}

// call sends one request, takes 2xx for success and decodes the answer into
// out unless out is nil. Everything else is an *APIError.
func (c *Client) call(ctx context.Context, method, path string, query url.Values, body, out any) error {
	a, err := c.do(ctx, method, path, query, body)
	if err != nil {
		return err
	}
	if a.status < 200 || a.status > 299 {
		return apiError(method, path, a)
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(a.body, out); err != nil {
		return fmt.Errorf("openwhisk: decode the answer to %s %s: %w", method, path, err)
	}
	return nil
}
