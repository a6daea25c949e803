// Package register takes the place of External Secrets' own. This product generates its secrets itself.
package register
