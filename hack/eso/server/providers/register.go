// Package register takes the place of External Secrets' own, which brings in the libraries of forty clouds and
// vaults. This product speaks to Vault.
package register

import _ "github.com/external-secrets/external-secrets/pkg/provider/vault"
