// A Vault server for our tests: Vault's own core and HTTP handler with the two plugins that this
// product uses, KV and Kubernetes auth. What `vault server` adds (cloud storages, listeners from a
// file, auto-unseal) is left out, which is what makes it build in minutes.
//
// It starts uninitialised and sealed; everything else is done through its HTTP API. It is built from
// published modules by hack/vault/program.ts and never shipped.
package main

import (
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"

	"github.com/hashicorp/go-hclog"
	kubernetes "github.com/hashicorp/vault-plugin-auth-kubernetes"
	kv "github.com/hashicorp/vault-plugin-secrets-kv"
	vaulthttp "github.com/hashicorp/vault/http"
	"github.com/hashicorp/vault/internalshared/configutil"
	"github.com/hashicorp/vault/sdk/helper/consts"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/hashicorp/vault/sdk/physical"
	"github.com/hashicorp/vault/sdk/physical/file"
	"github.com/hashicorp/vault/sdk/physical/inmem"
	"github.com/hashicorp/vault/vault"
	"github.com/hashicorp/vault/version"
)

var (
	listen  = flag.String("listen", "127.0.0.1:8200", "address of the first node")
	standby = flag.String("standby", "", "address of a second node on the same storage; needs storage in memory")
	storage = flag.String("storage", "", "folder that outlives the process; absent: memory")
	cert    = flag.String("tls-cert", "", "PEM file: serve TLS")
	key     = flag.String("tls-key", "", "PEM file")
)

func main() {
	flag.Parse()
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	logger := hclog.New(&hclog.LoggerOptions{Level: hclog.Info, Output: os.Stderr})
	logger.Info("starting", "vault", version.Version)
	backend, err := open(logger)
	if err != nil {
		return err
	}
	ended := make(chan error)
	for _, address := range []string{*listen, *standby} {
		if address == "" {
			continue
		}
		if err := serve(address, backend, logger, ended); err != nil {
			return err
		}
	}
	return <-ended
}

func open(logger hclog.Logger) (physical.Backend, error) {
	if *storage == "" {
		return inmem.NewInmemHA(nil, logger)
	}
	if *standby != "" {
		return nil, errors.New("two nodes need storage in memory: a folder has no lock")
	}
	return file.NewFileBackend(map[string]string{"path": *storage}, logger)
}

// One node. Without a cluster address it cannot forward, so a standby redirects.
func serve(address string, backend physical.Backend, logger hclog.Logger, ended chan<- error) error {
	scheme := "http"
	if *cert != "" {
		scheme = "https"
	}
	ha, _ := backend.(physical.HABackend)
	core, err := vault.NewCore(&vault.CoreConfig{
		Physical:           backend,
		HAPhysical:         ha,
		RedirectAddr:       scheme + "://" + address,
		DisableMlock:       true,
		Logger:             logger.Named(address),
		BuiltinRegistry:    plugins,
		LogicalBackends:    map[string]logical.Factory{"kv": kv.Factory},
		CredentialBackends: map[string]logical.Factory{"kubernetes": kubernetes.Factory},
	})
	if err != nil {
		return err
	}
	properties := &vault.HandlerProperties{Core: core, ListenerConfig: &configutil.Listener{Address: address}}
	server := &http.Server{Addr: address, Handler: vaulthttp.Handler.Handler(properties)}
	go func() {
		if *cert != "" {
			ended <- server.ListenAndServeTLS(*cert, *key)
		} else {
			ended <- server.ListenAndServe()
		}
	}()
	return nil
}

// What the plugin catalog lists. The factories themselves are given to the core.
type registry map[consts.PluginType]string

var plugins = registry{consts.PluginTypeSecrets: "kv", consts.PluginTypeCredential: "kubernetes"}

func (r registry) Contains(name string, kind consts.PluginType) bool {
	return name != "" && r[kind] == name
}

func (r registry) Get(name string, kind consts.PluginType) (func() (interface{}, error), bool) {
	missing := func() (interface{}, error) { return nil, errors.New("plugins run inside of this program") }
	return missing, r.Contains(name, kind)
}

func (r registry) Keys(kind consts.PluginType) []string {
	if r[kind] == "" {
		return nil
	}
	return []string{r[kind]}
}

func (r registry) DeprecationStatus(name string, kind consts.PluginType) (consts.DeprecationStatus, bool) {
	return consts.Supported, r.Contains(name, kind)
}

func (r registry) IsBuiltinEntPlugin(string, consts.PluginType) bool { return false }
