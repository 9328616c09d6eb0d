package main

import (
	"context"
	"errors"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"github.com/assigndex/assigndex/config"
)

func (p *program) serveCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the index and its query API, with an embedded NATS server unless --nats-url names one",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, warnings, err := config.LoadServe(cmd.Flags(), p.environ)
			if err != nil {
				return err
			}
			log := config.NewLogger(p.err, p.environ, cfg.LogLevel, cfg.LogFormat)
			for _, w := range warnings {
				log.Warn().Str("setting", w.Name).Msg(w.Text)
			}
			return serve(cmd.Context(), cfg, log)
		},
	}
	config.ServeFlags(cmd.Flags())
	return cmd
}

// serve runs a node until the context ends, and then drains and closes it.
func serve(ctx context.Context, cfg config.Serve, log zerolog.Logger) error {
	n, err := openNode(ctx, cfg, log)
	if err != nil {
		return err
	}
	err = errors.Join(n.run(ctx), n.close())
	if err == nil {
		log.Info().Msg("stopped")
	}
	return err
}
