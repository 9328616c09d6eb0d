package main

import (
	"context"
	"errors"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"github.com/assigndex/assigndex/config"
	"github.com/assigndex/assigndex/indexer/stream/keybucket"
	"github.com/assigndex/assigndex/query/apikey"
)

func (p *program) keyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "key",
		Short: "Create, list and revoke API keys",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_ = cmd.Usage()
			return usageError{errors.New("name what to do: create, list or revoke")}
		},
	}
	cmd.AddCommand(p.keyCreateCommand(), p.keyListCommand(), p.keyRevokeCommand())
	return cmd
}

// withKeys runs f with the bucket of keys that the client flags lead to.
func (p *program) withKeys(cmd *cobra.Command, f func(ctx context.Context, keys *keybucket.Bucket[apikey.Key]) error) error {
	c, err := p.client(cmd.Flags())
	if err != nil {
		return err
	}
	nc, err := p.connect(cmd.Context(), c, "assigndex key")
	if err != nil {
		return err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), 10*time.Second)
	defer cancel()
	return f(ctx, keyBucket(js, 1, p.clientLog()))
}

// keyBucket gives the bucket of API keys. It is made when it is first needed, and
// then with so many copies.
func keyBucket(js jetstream.JetStream, replicas int, log zerolog.Logger) *keybucket.Bucket[apikey.Key] {
	return keybucket.New(js, apikey.Codec{}, keybucket.Options{Replicas: replicas, Logger: log})
}

func (p *program) keyCreateCommand() *cobra.Command {
	var name, role, tenant string
	cmd := &cobra.Command{
		Use:   "create --name N",
		Short: "Make a key and print it, once",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, err := apikey.ParseRole(role)
			if err != nil {
				return usageError{fmt.Errorf("--role: %w", err)}
			}
			key, token, err := apikey.New(name, r, tenant, time.Now())
			if err != nil {
				return usageError{err}
			}
			return p.withKeys(cmd, func(ctx context.Context, keys *keybucket.Bucket[apikey.Key]) error {
				if err := keys.Create(ctx, key); err != nil {
					return err
				}
				_, err := fmt.Fprintln(p.out, token)
				return err
			})
		},
	}
	config.ClientFlags(cmd.Flags())
	cmd.Flags().StringVar(&name, "name", "", "what the key is for (required)")
	cmd.Flags().StringVar(&role, "role", apikey.Reader.String(), "what it may do: reader, writer or admin")
	cmd.Flags().StringVar(&tenant, "tenant", "default", "tenant that it opens, '*' for all")
	return cmd
}

func (p *program) keyListCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the keys, without their secrets",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return p.withKeys(cmd, func(ctx context.Context, keys *keybucket.Bucket[apikey.Key]) error {
				all, err := keys.List(ctx)
				if err != nil {
					return err
				}
				w := tabwriter.NewWriter(p.out, 0, 0, 2, ' ', 0)
				_, _ = fmt.Fprintln(w, "ID\tNAME\tROLE\tTENANT\tCREATED") // Flush reports
				for _, k := range all {
					_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", k.ID, k.Name, k.Role, k.Tenant, k.CreatedAt.Format(time.RFC3339)) // Flush reports
				}
				return w.Flush()
			})
		},
	}
	config.ClientFlags(cmd.Flags())
	return cmd
}

func (p *program) keyRevokeCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "revoke ID",
		Short: "Revoke a key; running servers refuse it at once",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usageError{errors.New("name one key by its id, see assigndex key list")}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.withKeys(cmd, func(ctx context.Context, keys *keybucket.Bucket[apikey.Key]) error {
				return keys.Revoke(ctx, args[0])
			})
		},
	}
	config.ClientFlags(cmd.Flags())
	return cmd
}
