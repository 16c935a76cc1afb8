package invokerhook

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/weft-stream/weft/openwhisk"
)

// Times of the platform's REST API.
const (
	restTimeout = 20 * time.Second // one call
	keyTrust    = time.Minute      // how long a verified key is not asked about again
	maxKeys     = 1024             // verified keys remembered
)

// platform is the REST API on behalf of namespaces, and what it said of their keys.
type platform struct {
	cfg  Config
	http *http.Client

	mu       sync.Mutex
	verified map[[32]byte]verdict // by the hash of the key
}

type verdict struct {
	namespaces []string
	until      time.Time
}

func newPlatform(cfg Config) *platform {
	hc := cfg.HTTP
	if hc == nil {
		t := http.DefaultTransport.(*http.Transport).Clone()
		t.MaxIdleConnsPerHost = 64
		t.TLSClientConfig = &tls.Config{InsecureSkipVerify: cfg.Insecure}
		hc = &http.Client{Transport: t, Timeout: restTimeout}
	}
	return &platform{cfg: cfg, http: hc, verified: map[[32]byte]verdict{}}
}

func (p *platform) close() { p.http.CloseIdleConnections() }

// client speaks for the owner of the key.
func (p *platform) client(key string) (*openwhisk.Client, error) {
	return openwhisk.NewClient(openwhisk.Config{APIHost: p.cfg.APIHost, Auth: key, HTTP: p.http})
}

// namespaces asks the platform which namespaces a key opens. An error has the key nowhere in it.
func (p *platform) namespaces(ctx context.Context, key string) ([]string, error) {
	hash := sha256.Sum256([]byte(key))
	p.mu.Lock()
	v, ok := p.verified[hash]
	p.mu.Unlock()
	if ok && p.cfg.Now().Before(v.until) {
		return v.namespaces, nil
	}
	c, err := p.client(key)
	if err != nil {
		return nil, err
	}
	ns, err := c.Namespaces(ctx)
	if err != nil {
		return nil, fmt.Errorf("check the OpenWhisk key with the platform: %w", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.verified) >= maxKeys {
		clear(p.verified)
	}
	p.verified[hash] = verdict{ns, p.cfg.Now().Add(keyTrust)}
	return ns, nil
}

// opens checks that a key opens the namespace; "" and "_" stand for the key's first.
func (p *platform) opens(ctx context.Context, key, namespace string) (string, error) {
	if key == "" {
		return "", fmt.Errorf("the OpenWhisk key is missing: an action gets one with the annotation provide-api-key, a client gives it in its hello")
	}
	all, err := p.namespaces(ctx, key)
	if err != nil {
		return "", err
	}
	switch {
	case len(all) == 0:
		return "", fmt.Errorf("the OpenWhisk key opens no namespace")
	case namespace == "" || namespace == openwhisk.DefaultNamespace:
		return all[0], nil
	case !slices.Contains(all, namespace):
		return "", fmt.Errorf("the OpenWhisk key does not open namespace %q", namespace)
	}
	return namespace, nil
}
