package localwhisk

import (
	"errors"
	"net"
	"strconv"
)

// address is a loopback IP that only one container on this machine has.
type address struct {
	ip   string
	mark net.Listener
}

// takeAddress finds the first address from 127.0.1.1 upward that is free.
// The mark is a socket in the abstract namespace: taken by one process at a
// time, gone with it, so that platforms side by side never share an address.
func takeAddress() (*address, error) {
	for i := range 250 * 250 {
		ip := "127.0." + strconv.Itoa(1+i/250) + "." + strconv.Itoa(1+i%250)
		mark, err := net.Listen("unix", "@localwhisk-"+ip)
		if err != nil {
			continue
		}
		if free(ip) {
			return &address{ip, mark}, nil
		}
		mark.Close()
	}
	return nil, errors.New("localwhisk: no free address in 127.0.0.0/16 with port " + containerPort)
}

func free(ip string) bool {
	l, err := net.Listen("tcp", net.JoinHostPort(ip, containerPort))
	if err != nil {
		return false
	}
	l.Close()
	return true
}

func (a *address) release() { a.mark.Close() }
