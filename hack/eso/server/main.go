// External Secrets for tests: its own command, with all of its controllers. What it was built without is in
// providers/ and generators/.
package main

import "github.com/external-secrets/external-secrets/cmd/controller"

func main() {
	controller.Execute()
}
