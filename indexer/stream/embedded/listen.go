package embedded

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
)

// ErrNotLoopback is wrapped by the error of Start when the listen address is
// not on loopback, or when its name does not stand for loopback alone.
var ErrNotLoopback = errors.New("the embedded NATS server asks for no password and listens on loopback only: " +
	"use a loopback address such as 127.0.0.1:4222, or run a NATS server of your own and name it with --nats-url")

// ErrAddressInUse is wrapped by the error of Start when another process listens
// on the address.
var ErrAddressInUse = errors.New("the address is in use")

// lookup finds the addresses of a host name; net.Resolver has it.
type lookup func(ctx context.Context, network, host string) ([]netip.Addr, error)

// loopback gives the one address that a listen address stands for. A name is
// resolved here, once, and the server is given the address: it must not resolve
// to something else a moment later.
func loopback(ctx context.Context, listen string, resolve lookup) (netip.AddrPort, error) {
	host, service, err := net.SplitHostPort(listen)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("listen address %q: %w", listen, err)
	}
	port, err := strconv.ParseInt(service, 10, 32)
	if err != nil || port < -1 || port > 65535 {
		return netip.AddrPort{}, fmt.Errorf("listen address %q: the port must be a number from 1 to 65535, or 0 for a free one", listen)
	}
	port = max(port, 0)
	if host == "" { // every interface
		return netip.AddrPort{}, fmt.Errorf("listen address %q: %w", listen, ErrNotLoopback)
	}
	addrs := []netip.Addr{}
	if addr, err := netip.ParseAddr(host); err == nil {
		addrs = append(addrs, addr)
	} else if addrs, err = resolve(ctx, "ip", host); err != nil {
		return netip.AddrPort{}, fmt.Errorf("listen address %q: %w", listen, err)
	}
	var chosen netip.Addr
	for _, addr := range addrs {
		addr = addr.Unmap()
		if !addr.IsLoopback() {
			return netip.AddrPort{}, fmt.Errorf("listen address %q (%s): %w", listen, addr, ErrNotLoopback)
		}
		if !chosen.IsValid() || addr.Is4() && !chosen.Is4() { // clients try 127.0.0.1 by default
			chosen = addr
		}
	}
	if !chosen.IsValid() {
		return netip.AddrPort{}, fmt.Errorf("listen address %q: the name has no address", listen)
	}
	return netip.AddrPortFrom(chosen, uint16(port)), nil
}

// checkFree fails when somebody listens on addr. The server itself looks only
// after it has opened its store, which can take long.
func checkFree(ctx context.Context, addr netip.AddrPort) error {
	var config net.ListenConfig
	l, err := config.Listen(ctx, "tcp", addr.String())
	if err != nil {
		return listenError(addr, err)
	}
	return l.Close()
}

func listenError(addr netip.AddrPort, err error) error {
	if isAddrInUse(err) {
		return fmt.Errorf("listen on %s: %w (is another server running?)", addr, ErrAddressInUse)
	}
	return fmt.Errorf("listen on %s: %w", addr, err)
}
