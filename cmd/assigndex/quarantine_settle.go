package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/spf13/cobra"

	"github.com/assigndex/assigndex/events"
	"github.com/assigndex/assigndex/query/client"
)

// settleFlags are those of redrive and drop.
type settleFlags struct {
	quarantineFlags
	all bool
}

func (f *settleFlags) register(cmd *cobra.Command) {
	f.quarantineFlags.register(cmd)
	cmd.Flags().BoolVar(&f.all, "all", false, "every message of the quarantine, the oldest first")
	f.registerCode(cmd, "with --all: only those refused for this reason")
}

// check reads the arguments.
func (f *settleFlags) check(args []string) ([]uint64, error) {
	switch {
	case f.all && len(args) > 0:
		return nil, usageError{errors.New("name messages or --all, not both")}
	case !f.all && len(args) == 0:
		return nil, usageError{errors.New("name messages by their sequences, see assigndex quarantine list, or --all")}
	case !f.all && f.request.Code != "":
		return nil, usageError{errors.New("--code: only with --all")}
	}
	return sequences(args)
}

// each settles messages one by one, in order, and says which it did. One that
// fails is reported and the next is gone on with, until the context ends.
func (f *settleFlags) each(
	ctx context.Context, p *program, cl *client.Client, seqs []uint64, done string, settle func(seq uint64) (last uint64, err error),
) error {
	if f.all {
		// All are read first: what is settled moves out of the listing.
		for q, err := range cl.Quarantine(ctx, f.request) {
			if err != nil {
				return err
			}
			seqs = append(seqs, q.Seq)
		}
	}
	failed := 0
	for _, seq := range seqs {
		last, err := settle(seq)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			failed++
			p.warn(fmt.Sprintf("%d: %v", seq, err))
			continue
		}
		if _, err := fmt.Fprintf(p.out, "%s %d, last sequence %d\n", done, seq, last); err != nil {
			return err
		}
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d messages were left in the quarantine", failed, len(seqs))
	}
	return nil
}

func (p *program) quarantineRedriveCommand() *cobra.Command {
	var flags settleFlags
	var data, typ string
	cmd := &cobra.Command{
		Use:   "redrive SEQ… | --all",
		Short: "Publish messages again as new events, corrected if need be, and take them out of the quarantine",
		Long: `Publish messages again as new events and take them out of the quarantine. What would be quarantined again is
refused, with the reason.

--data FILE (or "-" for standard input) is what is published in place of one message: a CloudEvents event, or the
data of an event of --type, or else of the message's own type. --type alone gives the stored body a type, for
messages that were published without one or with a wrong one.

A message of no tenant (--unattributed) is published for --tenant.`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			seqs, err := flags.check(args)
			if err != nil {
				return err
			}
			if data != "" && len(seqs) != 1 {
				return usageError{errors.New("--data: only with one message")}
			}
			if typ != "" && !events.Type(typ).Known() {
				return usageError{fmt.Errorf("--type %q: use one of %v", typ, events.Types)}
			}
			correction, err := p.correction(data, typ)
			if err != nil {
				return err
			}
			cl, err := flags.open(p, cmd)
			if err != nil {
				return err
			}
			return flags.each(cmd.Context(), p, cl, seqs, "redriven", func(seq uint64) (uint64, error) {
				return cl.Redrive(cmd.Context(), seq, flags.request, correction)
			})
		},
	}
	flags.register(cmd)
	cmd.Flags().StringVar(&data, "data", "", "file with the corrected event, or its data; - is standard input")
	cmd.Flags().StringVar(&typ, "type", "", "event type of the data (default that of the message)")
	return cmd
}

// maxCorrection bounds what is read of --data: more is no event.
const maxCorrection = 2 * events.MaxEventBytes

// correction reads what is published in place of a message.
func (p *program) correction(file, typ string) (c client.Correction, err error) {
	c.Type = typ
	if file == "" {
		return c, nil
	}
	in := p.in
	if file != "-" {
		f, err := os.Open(file) //nolint:gosec // the user names it
		if err != nil {
			return c, err
		}
		defer func() { _ = f.Close() }() // was only read
		in = f
	}
	content, err := io.ReadAll(io.LimitReader(in, maxCorrection+1))
	if err != nil {
		return c, err
	}
	if len(content) > maxCorrection {
		return c, fmt.Errorf("--data: an event has at most %d bytes", events.MaxEventBytes)
	}
	c.Data = bytes.TrimSpace(content)
	var envelope struct {
		SpecVersion jsontext.Value `json:"specversion"`
	}
	if err := json.Unmarshal(c.Data, &envelope); err != nil || c.Data.Kind() != '{' {
		return c, errors.New("--data: not one JSON object in valid UTF-8 with each name once") // without its text, which may hold a secret
	}
	if len(envelope.SpecVersion) > 0 {
		if typ != "" {
			return c, usageError{errors.New("--type: a CloudEvents event says its own")}
		}
		c = client.Correction{Event: c.Data}
	}
	return c, nil
}

func (p *program) quarantineDropCommand() *cobra.Command {
	var flags settleFlags
	var note string
	var yes bool
	cmd := &cobra.Command{
		Use:   "drop SEQ… | --all --yes",
		Short: "Take messages out of the quarantine that nobody needs; the stream keeps them",
		Args:  cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			seqs, err := flags.check(args)
			if err != nil {
				return err
			}
			if flags.all && !yes {
				return usageError{errors.New("--all drops every message of the quarantine: say --yes, too")}
			}
			if len(note) > events.MaxNoteBytes {
				return usageError{fmt.Errorf("--note: has at most %d bytes", events.MaxNoteBytes)}
			}
			cl, err := flags.open(p, cmd)
			if err != nil {
				return err
			}
			return flags.each(cmd.Context(), p, cl, seqs, "dropped", func(seq uint64) (uint64, error) {
				return cl.Drop(cmd.Context(), seq, flags.request, note)
			})
		},
	}
	flags.register(cmd)
	cmd.Flags().StringVar(&note, "note", "", "why, for people who read the stream")
	cmd.Flags().BoolVar(&yes, "yes", false, "with --all: yes, every one")
	return cmd
}
