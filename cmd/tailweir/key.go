package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"tailweir/auth"
	"tailweir/service"
	"tailweir/strictyaml"
)

// runKey makes and checks the keys that apps send with.
func runKey(args []string, in io.Reader, out, notes io.Writer) error {
	if len(args) > 0 {
		switch args[0] {
		case "new":
			return newKey(args[1:], out, notes)
		case "check":
			return checkKeys(args[1:], in, out)
		case "help", "-h", "--help":
			fmt.Fprintln(out, "usage: tailweir key new --name NAME [flags] >> FILE\n       tailweir key check --keys FILE [--whose]")
			return nil
		}
	}
	return &service.UsageError{Err: errors.New("key: want new or check; tailweir key new --help says more")}
}

// newKey prints the entry for the file to out and the key to notes, so that what is appended to the file has no key in it.
func newKey(args []string, out, notes io.Writer) error {
	var e auth.Entry
	flags := newFlags("key new")
	flags.StringVar(&e.Name, "name", "", "`NAME` of the key, for logs and metrics")
	flags.Func("attribute", "`KEY=VALUE` put on each resource that is sent with the key; may be repeated", func(s string) error {
		k, v, ok := strings.Cut(s, "=")
		if !ok || k == "" {
			return errors.New("want KEY=VALUE")
		}
		if e.Attributes == nil {
			e.Attributes = map[string]string{}
		}
		e.Attributes[k] = v
		return nil
	})
	flags.IntVar(&e.Limit.Requests, "requests", 0, "`N` requests per second at most to one ingest; 0: unbounded")
	flags.Func("bytes", "`SIZE` per second at most to one ingest, such as 5MB; without: unbounded", func(s string) (err error) {
		e.Limit.Bytes, err = strictyaml.ParseSize(s)
		return err
	})
	flags.Func("until", "`DATE` from which on it is not valid", func(s string) (err error) {
		e.Until, err = auth.ParseMoment(s)
		return err
	})
	about := "Makes a key. Standard output is the entry for the file of keys, standard error the key itself, which is shown this once:\n" +
		"  tailweir key new --name shop >> keys.yaml"
	if err := parse(flags, about, args); err != nil {
		return err
	}
	key := auth.NewKey()
	e.Hash = auth.HashOf(key)
	entry := e.YAML()
	if _, err := auth.Parse("key new", entry); err != nil {
		return &service.UsageError{Err: err}
	}
	if _, err := out.Write(entry); err != nil {
		return err
	}
	_, err := fmt.Fprintf(notes, "The key of %s, shown this once; its app sends it as x-api-key (OTEL_EXPORTER_OTLP_HEADERS=x-api-key=KEY):\n%s\n", e.Name, key)
	return err
}

const mostShown = 4096 // bytes read for a key

func checkKeys(args []string, in io.Reader, out io.Writer) error {
	var file string
	var whose bool
	flags := newFlags("key check")
	flags.StringVar(&file, "keys", "", "`FILE` of keys")
	flags.BoolVar(&whose, "whose", false, "read a key from standard input and say whose it is")
	if err := parse(flags, "Validates a file of keys and lists them. Exit status 1: the file has faults, each with its place, or the key is not in it.", args); err != nil {
		return err
	}
	if file == "" {
		return &service.UsageError{Err: errors.New("key check: want --keys FILE")}
	}
	ring, err := auth.Load(file)
	if err != nil {
		return err
	}
	if !whose {
		for _, e := range ring.Entries() {
			fmt.Fprintln(out, describe(e, time.Now()))
		}
		return nil
	}
	shown, err := io.ReadAll(io.LimitReader(in, mostShown))
	if err != nil {
		return fmt.Errorf("key check: standard input: %w", err)
	}
	name, until, ok := ring.Whose(string(shown))
	if !ok {
		return fmt.Errorf("key check: what standard input has is not in %s", file)
	}
	fmt.Fprintln(out, describe(auth.Entry{Name: name, Until: auth.Moment{Time: until}}, time.Now()))
	return nil
}

// describe is a key in one line.
func describe(e auth.Entry, now time.Time) string {
	line := e.Name
	if e.Limit.Requests > 0 {
		line += fmt.Sprintf(", %d requests/s", e.Limit.Requests)
	}
	if e.Limit.Bytes > 0 {
		line += fmt.Sprintf(", %s/s", e.Limit.Bytes)
	}
	switch {
	case e.Until.IsZero():
	case now.Before(e.Until.Time):
		line += ", until " + e.Until.Format(time.RFC3339)
	default:
		line += ", NOT VALID since " + e.Until.Format(time.RFC3339)
	}
	return line
}
