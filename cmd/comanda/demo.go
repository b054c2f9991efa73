package main

import (
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"go.yaml.in/yaml/v3"

	"comanda.internal/adapters/provider"
	"comanda.internal/adapters/provider/iset"
	"comanda.internal/adapters/webhook"
)

// demoFile is the configuration that serve makes when it is given none.
const demoFile = "demo.yaml"

const demoHead = `# One source for each provider, made by 'comanda serve' because it was given no --config.
# A start for a configuration of your own; delete it to have new tokens made.
`

// demoConfig is the path of the demo's configuration below dataDir, which is
// made with new tokens when it is not there.
func demoConfig(dataDir string) (string, error) {
	path := filepath.Join(dataDir, demoFile)
	_, err := os.Stat(path)
	if err == nil || !errors.Is(err, fs.ErrNotExist) {
		return path, err
	}
	text, err := yaml.Marshal(demo())
	if err != nil {
		return "", err
	}
	if err := os.WriteFile(path+".tmp", append([]byte(demoHead), text...), 0o600); err != nil {
		return "", err
	}
	return path, os.Rename(path+".tmp", path)
}

// demo has one source for each provider, each with a new token.
func demo() any {
	type object = map[string]any
	var sources []object
	for _, name := range provider.Names() {
		source := object{
			"id": "loja-" + name, "provider": name, "tenant": "loja", "account": "principal",
			"auth": object{"type": webhook.AuthToken, "tokens": []string{rand.Text()}},
		}
		switch name {
		case provider.ISET:
			source["iset"] = iset.SampleConfig()
		case provider.Comanda:
			source["id"] = "loja-checkout"
		}
		sources = append(sources, source)
	}
	return object{"tenants": []string{"loja"}, "sources": sources}
}
