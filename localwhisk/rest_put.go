package localwhisk

import (
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"

	"github.com/weft-stream/weft/openwhisk"
)

// putAction creates or updates an action.
func (s *rest) putAction(r *request, n openwhisk.Name) error {
	in := struct {
		openwhisk.Action
		Publish *bool `json:"publish"`
	}{}
	if err := r.entity(&in); err != nil {
		return err
	}
	if err := tidy(in.Version, &in.Parameters, &in.Annotations); err != nil {
		return err
	}
	if err := s.p.cfg.Limits.checkSizes(in.Exec, in.Parameters, in.Annotations); err != nil {
		return err
	}
	if in.Exec != nil {
		if err := s.checkExec(in.Exec); err != nil {
			return err
		}
	}
	a, err := update(s.p.store, s.p.store.actions, n, func(old *action) (*action, error) {
		if old != nil && !r.overwrites() {
			return nil, errExists
		}
		in.Action.Publish = given(in.Publish, old != nil && old.publish)
		return s.changeAction(n, old, in.Action)
	})
	if err != nil {
		return err
	}
	s.p.changed(n)
	return r.answer(a.document(true))
}

// checkExec checks what an action runs and fills in what the platform knows.
// The store's lock is not held.
func (s *rest) checkExec(e *openwhisk.Exec) error {
	if e.Kind == openwhisk.KindSequence {
		return s.checkSequence(e)
	}
	if family, ok := strings.CutSuffix(e.Kind, ":default"); ok {
		for _, k := range s.p.kinds() {
			if strings.HasPrefix(k, family+":") {
				e.Kind = k
				break
			}
		}
	}
	if e.Kind == openwhisk.KindBlackbox {
		if e.Image == "" {
			return malformed("'image' must be a string defined in 'exec' for 'blackbox' actions")
		}
	} else if _, ok := s.p.cfg.Runtimes[e.Kind]; !ok {
		var names []string
		for _, k := range append(s.p.kinds(), openwhisk.KindSequence, openwhisk.KindBlackbox) {
			names = append(names, "'"+k+"'")
		}
		return malformed(fmt.Sprintf("The specified runtime '%s' is not supported by this platform. Valid values are: %s.",
			e.Kind, strings.Join(names, ", ")))
	}
	if e.Code == nil && e.Kind != openwhisk.KindBlackbox {
		return malformed("'code' must be a string or attachment object defined in 'exec' for '" + e.Kind + "' actions")
	}
	binary := false
	if e.Code != nil {
		binary = isBase64(*e.Code)
	}
	e.Binary = &binary
	return nil
}

// isBase64 is the platform's test for binary code.
func isBase64(s string) bool {
	if s == "" || len(s)%4 != 0 {
		return false
	}
	_, err := base64.StdEncoding.DecodeString(s)
	return err == nil
}

// changeAction makes the action that a PUT asks for; old is nil for a new one.
func (s *rest) changeAction(n openwhisk.Name, old *action, in openwhisk.Action) (*action, error) {
	if old == nil {
		if in.Exec == nil {
			return nil, fail(400, "exec undefined")
		}
		old = &action{name: n, version: "0.0.0", rev: "0-", limits: s.p.cfg.Limits.standard(), annotations: openwhisk.KeyValues{}}
		in.Annotations = in.Annotations.With()
		if in.Annotations.Get(openwhisk.AnnotationProvideAPIKey) == nil {
			in.Annotations = append(in.Annotations, openwhisk.KV(openwhisk.AnnotationProvideAPIKey, false))
		}
		if in.Parameters == nil {
			in.Parameters = openwhisk.KeyValues{}
		}
	}
	a := *old
	if in.Exec != nil {
		a.exec = *in.Exec
		in.Annotations = in.Annotations.With(openwhisk.KV(openwhisk.AnnotationExec, a.exec.Kind))
	}
	var err error
	if a.limits, err = old.limits.with(in.Limits, s.p.cfg.Limits); err != nil {
		return nil, fail(400, err.Error())
	}
	a.annotations = old.annotations.Without(in.DelAnnotations...).With(in.Annotations...)
	if in.Parameters != nil {
		a.parameters = in.Parameters
	}
	if a.sequence() && in.Exec != nil {
		a.parameters = openwhisk.KeyValues{openwhisk.KV("_actions", a.exec.Components)}
		if err := s.checkAtomic(n, a.exec.Components); err != nil {
			return nil, err
		}
	}
	a.publish = in.Publish
	a.updated = s.p.cfg.Now().UnixMilli()
	a.version = bump(old.version, in.Version)
	serial, _, _ := strings.Cut(old.rev, "-")
	count, _ := strconv.Atoi(serial)
	a.rev = fmt.Sprintf("%d-%s", count+1, randomHex(16))
	return &a, nil
}

// bump is the wanted version, or the next patch.
func bump(old, want string) string {
	if want != "" {
		return want
	}
	i := strings.LastIndexByte(old, '.')
	patch, _ := strconv.Atoi(old[i+1:])
	return old[:i+1] + strconv.Itoa(patch+1)
}
