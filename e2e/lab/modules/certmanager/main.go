// Command certmanager is cert-manager's controller, webhook and cainjector in
// one binary: it is the one it is called as. Together they are a third of
// three, and one image layer.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"

	cainjector "github.com/cert-manager/cert-manager/cmd/cainjector/app"
	controller "github.com/cert-manager/cert-manager/cmd/controller/app"
	"github.com/cert-manager/cert-manager/cmd/util"
	webhook "github.com/cert-manager/cert-manager/cmd/webhook/app"
	logf "github.com/cert-manager/cert-manager/pkg/logs"
	"github.com/spf13/cobra"
	ctrl "sigs.k8s.io/controller-runtime"
)

func main() {
	stop, exit := util.SetupExitHandler(util.GracefulShutdown)
	defer exit() // may call os.Exit, so it is deferred first

	logf.InitLogs(flag.CommandLine)
	defer logf.FlushLogs()
	ctrl.SetLogger(logf.Log)

	var command *cobra.Command
	switch name := filepath.Base(os.Args[0]); name {
	case "controller":
		command = controller.NewCommandStartCertManagerController(stop)
	case "webhook":
		command = webhook.NewServerCommand(stop)
	case "cainjector":
		command = cainjector.NewCommandStartInjectorController(util.ContextWithStopCh(context.Background(), stop), os.Stdout, os.Stderr)
	default:
		fmt.Fprintf(os.Stderr, "certmanager: call it as controller, webhook or cainjector, not %q\n", name)
		os.Exit(2)
	}
	command.Flags().AddGoFlagSet(flag.CommandLine)
	if err := flag.CommandLine.Parse(nil); err != nil {
		logf.Log.Error(err, "could not parse no flags")
	}
	if err := command.Execute(); err != nil {
		logf.Log.Error(err, "error while executing")
		util.SetExitCode(err)
	}
}
