package config

import (
	"fmt"
	"math"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/rs/zerolog"
)

// Every parser here returns a *problem when the text cannot stand.

const (
	// minStreamAge is the smallest age limit that JetStream takes.
	minStreamAge = 100 * time.Millisecond
	// maxStreamName is JetStream's limit on the name of a stream, in bytes.
	maxStreamName = 255
	maxPort       = 1<<16 - 1

	remedyDuration = "write a number with its unit, such as 90s, 24h or 7d"
	remedySize     = "write bytes, or a whole number with its unit, such as 500MB or 10GiB"
	remedyAddress  = "write host:port, such as 127.0.0.1:8080 or [::1]:8080"
	remedyNATSURL  = "write nats://host:port, or several separated by commas"
	remedyHTTPURL  = "write http://host:port or https://host:port"
)

func parsePath(text string) (string, error) {
	if text == "" {
		return "", bad("is empty", "name a path")
	}
	return parseOptionalPath(text)
}

func parseOptionalPath(text string) (string, error) {
	if strings.ContainsRune(text, 0) {
		return "", bad("holds a NUL character", "name a path without one")
	}
	return text, nil
}

// parseDuration reads "0", what time.ParseDuration reads, and whole days in
// front of it, as in "7d" and "1d12h".
func parseDuration(text string) (time.Duration, error) {
	if text == "0" {
		return 0, nil
	}
	var days time.Duration
	clock := text
	if head, tail, ok := strings.Cut(text, "d"); ok {
		n, err := strconv.ParseUint(head, 10, 32)
		if err != nil || time.Duration(n) > math.MaxInt64/(24*time.Hour) {
			return 0, bad("is not a duration", remedyDuration)
		}
		days, clock = time.Duration(n)*24*time.Hour, tail
		if tail == "" {
			return days, nil
		}
	}
	d, err := time.ParseDuration(clock)
	if err != nil || d > math.MaxInt64-days {
		return 0, bad("is not a duration", remedyDuration)
	}
	if d < 0 {
		return 0, bad("is below zero", remedyDuration)
	}
	return days + d, nil
}

func parseStreamAge(text string) (time.Duration, error) {
	d, err := parseDuration(text)
	if err == nil && d > 0 && d < minStreamAge {
		return 0, bad("is shorter than JetStream allows", "write at least "+minStreamAge.String()+", or 0 for no limit")
	}
	return d, err
}

// sizeUnits are the units of parseSize in bytes, in lower case.
var sizeUnits = map[string]int64{
	"": 1, "b": 1,
	"kb": 1e3, "mb": 1e6, "gb": 1e9, "tb": 1e12,
	"kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30, "tib": 1 << 40,
	"ki": 1 << 10, "mi": 1 << 20, "gi": 1 << 30, "ti": 1 << 40,
}

// parseSize reads a number of bytes: a whole number alone or with a unit. A
// bare K, M or G is refused, since tools differ on what it means.
func parseSize(text string) (int64, error) {
	end := strings.IndexFunc(text, func(r rune) bool { return r < '0' || r > '9' })
	if end < 0 {
		end = len(text)
	}
	unit, known := sizeUnits[strings.ToLower(strings.TrimPrefix(text[end:], " "))]
	n, err := strconv.ParseInt(text[:end], 10, 64)
	if err != nil || !known {
		return 0, bad("is not a size", remedySize)
	}
	if n > math.MaxInt64/unit {
		return 0, bad("is larger than any disk", remedySize)
	}
	return n * unit, nil
}

// parseReserve reads a size that is none or large enough to be of use.
func parseReserve(text string) (int64, error) {
	n, err := parseSize(text)
	if err == nil && n > 0 && n < MinReserve {
		return 0, bad("is less than what is written after ingest has stopped", "write at least 256MiB, or 0 to guard nothing")
	}
	return n, err
}

// parseSwitch reads true or false.
func parseSwitch(text string) (bool, error) {
	switch strings.ToLower(text) {
	case "true":
		return true, nil
	case "false":
		return false, nil
	}
	return false, bad("is neither true nor false", "write true or false")
}

// parseCount reads a whole number from least to most.
func parseCount(least, most int) func(string) (int, error) {
	remedy := fmt.Sprintf("write a whole number from %d to %d", least, most)
	return func(text string) (int, error) {
		n, err := strconv.Atoi(text)
		if err != nil {
			return 0, bad("is not a whole number", remedy)
		}
		if n < least || n > most {
			return 0, bad("is out of range", remedy)
		}
		return n, nil
	}
}

// parseAddress checks an address to listen on. An empty host is every
// interface, port 0 a free port.
func parseAddress(text string) (string, error) {
	host, port, err := net.SplitHostPort(text)
	if err != nil {
		return "", bad("is not an address", remedyAddress)
	}
	if n, err := strconv.ParseUint(port, 10, 64); err != nil || n > maxPort {
		return "", bad("has no port from 0 to 65535", remedyAddress)
	}
	if _, err := netip.ParseAddr(host); err != nil && strings.ContainsFunc(host, notInHostName) {
		return "", bad("has no valid host", remedyAddress)
	}
	return text, nil
}

func notInHostName(r rune) bool {
	return r > unicode.MaxASCII || !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune(".-_", r)
}

// parseLoopbackAddress checks the address of the embedded NATS server. It asks
// nobody who they are, so it must not be reached from another machine.
func parseLoopbackAddress(text string) (string, error) {
	if _, err := parseAddress(text); err != nil {
		return "", err
	}
	host, _, err := net.SplitHostPort(text)
	if err != nil {
		return "", bad("is not an address", remedyAddress)
	}
	if isLoopbackHost(host) {
		return text, nil
	}
	return "", bad("can be reached from other machines, and the embedded NATS server has no authentication",
		"listen on 127.0.0.1, or run a NATS server with authentication and name it by nats-url")
}

func parseOptionalNATSURL(text string) (string, error) {
	if text == "" {
		return "", nil
	}
	return parseNATSURL(text)
}

// parseNATSURL checks a list of URLs, separated by commas, as the NATS client
// takes it; a URL without a scheme is a nats:// one.
func parseNATSURL(text string) (string, error) {
	for one := range strings.SplitSeq(text, ",") {
		one = strings.TrimSpace(one)
		if !strings.Contains(one, "://") {
			one = "nats://" + one
		}
		u, err := parseURL(one, remedyNATSURL)
		if err != nil {
			return "", err
		}
		switch u.Scheme {
		case "nats", "tls", "ws", "wss":
		default:
			return "", bad("has a scheme that is none of nats, tls, ws and wss", remedyNATSURL)
		}
	}
	return text, nil
}

// parseHTTPURL checks the base URL of the HTTP API and takes off slashes at its
// end.
func parseHTTPURL(text string) (string, error) {
	u, err := parseURL(text, remedyHTTPURL)
	if err != nil {
		return "", err
	}
	if u.Scheme != "http" && u.Scheme != "https" {
		return "", bad("has a scheme that is neither http nor https", remedyHTTPURL)
	}
	if u.RawQuery != "" || u.Fragment != "" {
		return "", bad("has a query or a fragment", remedyHTTPURL)
	}
	return strings.TrimRight(text, "/?#"), nil
}

// parseURL reads a URL with a host. It drops what url.Parse says, which can
// repeat a password.
func parseURL(text, remedy string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil {
		return nil, bad("is not a URL", remedy)
	}
	if u.Hostname() == "" {
		return nil, bad("has no host", remedy)
	}
	if port := u.Port(); port != "" {
		if n, err := strconv.ParseUint(port, 10, 64); err != nil || n > maxPort {
			return nil, bad("has a port above 65535", remedy)
		}
	}
	return u, nil
}

// parseStreamName checks what JetStream demands of a stream's name.
func parseStreamName(text string) (string, error) {
	const remedy = "write letters, digits, - and _, such as ASSIGNMENTS"
	switch {
	case text == "":
		return "", bad("is empty", remedy)
	case len(text) > maxStreamName:
		return "", bad(fmt.Sprintf("is longer than %d bytes", maxStreamName), remedy)
	case strings.ContainsFunc(text, notInStreamName):
		return "", bad("holds a character that JetStream does not allow in a stream's name", remedy)
	}
	return text, nil
}

func notInStreamName(r rune) bool {
	return unicode.IsSpace(r) || !unicode.IsPrint(r) || strings.ContainsRune(`.*>/\`, r)
}

// parseOptionalToken checks a credential that travels in a header.
func parseOptionalToken(text string) (string, error) {
	if strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", bad("holds a space, a line break or a character outside ASCII", "give the key alone, as it was printed")
	}
	return text, nil
}

func parseLogLevel(text string) (zerolog.Level, error) {
	for level := zerolog.TraceLevel; level <= zerolog.ErrorLevel; level++ {
		if strings.EqualFold(text, level.String()) {
			return level, nil
		}
	}
	return 0, bad("is not a level", "write trace, debug, info, warn or error")
}

func parseLogFormat(text string) (LogFormat, error) {
	switch f := LogFormat(strings.ToLower(text)); f {
	case LogConsole, LogJSON:
		return f, nil
	default:
		return "", bad("is not a format", "write console or json")
	}
}
