// Argo CD for tests: its application controller, its repository server, and a Redis in memory, in one program. The
// API server, the user interface and everything else of Argo CD stay out, which halves the build.
package main

import (
	"fmt"
	"os"

	"github.com/alicebob/miniredis/v2"
	controller "github.com/argoproj/argo-cd/v3/cmd/argocd-application-controller/commands"
	reposerver "github.com/argoproj/argo-cd/v3/cmd/argocd-repo-server/commands"
	"github.com/spf13/cobra"
)

func main() {
	root := &cobra.Command{Use: "argocd"}
	root.AddCommand(controller.NewCommand(), reposerver.NewCommand())
	root.AddCommand(&cobra.Command{Use: "redis", RunE: func(_ *cobra.Command, args []string) error {
		server := miniredis.NewMiniRedis()
		if err := server.StartAddr(args[0]); err != nil {
			return err
		}
		fmt.Println(server.Addr())
		select {}
	}})
	if err := root.Execute(); err != nil {
		os.Exit(1)
	}
}
