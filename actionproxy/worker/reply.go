package worker

import (
	"encoding/json"
	"net/http"

	"github.com/weft-stream/weft/actionproxy"
	"github.com/weft-stream/weft/quicmesh/outlet"
)

// errorReply is {"error": text}: with status 200 an ordinary error of the action, with 502 the end of
// the container.
func errorReply(status int, text string) actionproxy.Reply {
	return actionproxy.Reply{Status: status, Body: outlet.ErrorObject(text)}
}

// leaseResult is what a lease's activation returns; users see it in their activations.
type leaseResult struct {
	Slot       string `json:"slot,omitempty"`
	Released   bool   `json:"released,omitempty"`   // the worker goes on
	Terminated bool   `json:"terminated,omitempty"` // the worker has stopped
	Reason     string `json:"reason,omitempty"`
}

func (r leaseResult) reply() actionproxy.Reply {
	body, _ := json.Marshal(map[string]leaseResult{"weft": r}) // strings and booleans always encode
	return actionproxy.Reply{Status: http.StatusOK, Body: body}
}

func releasedReply(slot string) actionproxy.Reply {
	return leaseResult{Slot: slot, Released: true}.reply()
}

// endReply is what a lease returns when its worker has stopped.
func endReply(slot string, e *ending) actionproxy.Reply {
	if e.usedUp {
		return errorReply(http.StatusBadGateway, "this container is used up: "+e.reason)
	}
	if e.err != "" {
		return errorReply(http.StatusOK, e.err)
	}
	return leaseResult{Slot: slot, Terminated: true, Reason: e.reason}.reply()
}
