package testkit

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// AzureBlobs is an Azure Blob Storage server with one empty container.
type AzureBlobs struct {
	// Endpoint is the account's address; Key is base64.
	Endpoint, Container, Account, Key string
}

// The account that every emulator of this storage knows, by its documentation.
const (
	azuriteAccount = "devstoreaccount1"
	azuriteKey     = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
)

// Azurite starts an Azurite server on a free port of 127.0.0.1, from the
// packages under internal/testkit/npm. The container is made by make, which
// gets the server's address, since that takes a client of the storage.
func Azurite(t testing.TB, makeContainer func(a AzureBlobs) error) AzureBlobs {
	t.Helper()
	bin := filepath.Join(ModuleRoot(t), "internal", "testkit", "npm", "node_modules", ".bin", "azurite-blob")
	if _, err := os.Stat(bin); err != nil {
		t.Skip("azurite is not installed (make setup-test)")
	}
	dir, port := shortDir(t), FreePort(t)
	a := AzureBlobs{
		Endpoint: fmt.Sprintf("http://127.0.0.1:%d/%s", port, azuriteAccount), Container: "stillwatch-test",
		Account: azuriteAccount, Key: azuriteKey,
	}
	cmd := exec.Command(bin, "--blobHost", "127.0.0.1", "--blobPort", fmt.Sprint(port),
		"--silent", "--loose", "--inMemoryPersistence", "--skipApiVersionCheck", "--disableTelemetry")
	cmd.Env = append(os.Environ(), "HOME="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	run(t, cmd, syscall.SIGTERM)
	addr := strings.TrimSuffix(strings.TrimPrefix(a.Endpoint, "http://"), "/"+azuriteAccount)
	awaitDial(t, "tcp", addr)
	Eventually(t, 60*time.Second, func() bool { return makeContainer(a) == nil }, "Azurite makes a container")
	http.DefaultClient.CloseIdleConnections()
	return a
}
