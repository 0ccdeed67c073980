// A bare loop of TLS handshakes with crypto/tls, which judges nothing: the unit of the benchmark.
//
// Usage: dial COUNT AT_ONCE. The addresses and names are those of farm.py.
package main

import (
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
)

const sites, port = 2000, "9443"

var addresses = []string{"127.77.0.1", "127.77.0.2", "127.77.0.3", "127.77.0.4"}

func dial(number int64) error {
	address := net.JoinHostPort(addresses[number%int64(len(addresses))], port)
	connection, err := tls.Dial("tcp", address, &tls.Config{
		ServerName:         fmt.Sprintf("h%04d.farm.test", number%sites),
		InsecureSkipVerify: true, // only the handshake is measured
		CurvePreferences:   []tls.CurveID{tls.X25519MLKEM768, tls.X25519, tls.CurveP256, tls.CurveP384},
	})
	if err != nil {
		return err
	}
	defer connection.Close()
	if chain := connection.ConnectionState().PeerCertificates; len(chain) != 2 {
		return fmt.Errorf("%d certificates instead of 2", len(chain))
	}
	return nil
}

func main() {
	count, _ := strconv.ParseInt(os.Args[1], 10, 64)
	atOnce, _ := strconv.Atoi(os.Args[2])
	var next, failed atomic.Int64
	var workers sync.WaitGroup
	for worker := 0; worker < atOnce; worker++ {
		workers.Add(1)
		go func() {
			defer workers.Done()
			for number := next.Add(1) - 1; number < count; number = next.Add(1) - 1 {
				if err := dial(number); err != nil {
					failed.Add(1)
					fmt.Fprintln(os.Stderr, err)
				}
			}
		}()
	}
	workers.Wait()
	if failed.Load() > 0 {
		os.Exit(1)
	}
}
