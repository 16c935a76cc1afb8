package localwhisk

import (
	"encoding/json"
	"fmt"
	"github.com/weft-stream/weft/openwhisk"
	"time"
)

// initBody is /init's body.
func (in *invoker) initBody(j *job, deadline time.Time) []byte {
	env := map[string]string{
		"__OW_NAMESPACE": in.p.cfg.Namespace, "__OW_ACTION_NAME": "/" + j.action.name.String(),
		"__OW_ACTION_VERSION": j.action.version, "__OW_ACTIVATION_ID": j.msg.ActivationID,
		"__OW_TRANSACTION_ID": j.msg.TransID.ID, "__OW_DEADLINE": fmt.Sprint(deadline.UnixMilli()),
	}
	if j.action.annotations.Truthy(openwhisk.AnnotationProvideAPIKey) {
		env["__OW_API_KEY"] = j.msg.User.AuthKey.APIKey
	}
	for _, p := range j.action.parameters {
		if p.Init {
			env[p.Key] = envText(p.Value)
		}
	}
	v := map[string]any{"name": j.action.name.Entity, "main": "main", "binary": false, "env": env}
	if j.action.exec.Main != "" {
		v["main"] = j.action.exec.Main
	}
	if j.action.exec.Code != nil {
		v["code"] = *j.action.exec.Code
	}
	if b := j.action.exec.Binary; b != nil {
		v["binary"] = *b
	}
	return mustJSON(map[string]any{"value": v})
}

// runBody is /run's body; the deadline is a string of epoch ms.
func (in *invoker) runBody(j *job, deadline time.Time) []byte {
	value := j.msg.Content
	if value == nil {
		value = json.RawMessage("{}")
	}
	for _, p := range j.action.parameters {
		if p.Init {
			o := objectOf(value)
			delete(o, p.Key)
			value = mustJSON(o)
		}
	}
	m := map[string]any{"value": value, "namespace": in.p.cfg.Namespace, "action_name": "/" + j.action.name.String(),
		"action_version": j.action.version, "activation_id": j.msg.ActivationID,
		"transaction_id": j.msg.TransID.ID, "deadline": fmt.Sprint(deadline.UnixMilli())}
	if j.action.annotations.Truthy(openwhisk.AnnotationProvideAPIKey) {
		m["api_key"] = j.msg.User.AuthKey.APIKey
	}
	return mustJSON(m)
}

// envText is a parameter as an environment variable: strings as they are,
// null empty, all else as JSON.
func envText(v json.RawMessage) string {
	var s string
	if string(v) == "null" || json.Unmarshal(v, &s) == nil {
		return s
	}
	return string(v)
}
