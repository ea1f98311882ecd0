package service

import (
	"fmt"
	"net"
)

// ListenAll opens every address, or none: what was opened before the one that failed is closed again.
func ListenAll(addrs ...string) ([]net.Listener, error) {
	var all []net.Listener
	for _, addr := range addrs {
		l, err := net.Listen("tcp", addr)
		if err != nil {
			for _, open := range all {
				open.Close()
			}
			return nil, fmt.Errorf("listen for OTLP: %w", err)
		}
		all = append(all, l)
	}
	return all, nil
}

// Addresses are those that the listeners are bound to.
func Addresses(listeners []net.Listener) (all []string) {
	for _, l := range listeners {
		all = append(all, l.Addr().String())
	}
	return all
}
