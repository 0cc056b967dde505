// A device: go run publish.go mqtt://HOST:PORT DEVICE SECONDS [SPEED]
//
// Written from docs/reference/wire.md: batches in the packed encoding, with QoS 1, over MQTT 3.1.1, which knows
// no content type: the first byte says what a payload is.
package main

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
)

const (
	fs       = 50.0 // Hz
	rows     = 25   // in a message
	channels = 6
	accG     = 1.0 / 2048 // g of one count
	gyroDps  = 1.0 / 16   // deg/s of one count
	patience = 30 * time.Second
)

// header stands before the samples: little-endian, without padding.
type header struct {
	Magic    uint8 // 0xD5
	Version  uint8 // version 1 in the high four bits, 0 for int16 in the low
	Channels uint8
	Zero     uint8
	Fs       float32
	Boot     uint32
	Seq      uint32
	T0       uint64 // device clock at the first sample, microseconds
}

type meta struct {
	Schema   string    `json:"schema"`
	Fs       float64   `json:"fs"`
	Channels []string  `json:"channels"`
	Units    []string  `json:"units"`
	Scale    []float64 `json:"scale"`
	Model    string    `json:"model"`
}

type status struct {
	Schema string `json:"schema"`
	State  string `json:"state"`
	Boot   uint32 `json:"boot"`
	Since  *int64 `json:"since"` // null in a last will, whose time the device cannot know
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) < 3 {
		return fmt.Errorf("usage: publish mqtt://HOST:PORT DEVICE SECONDS [SPEED]")
	}
	url, device := args[0], args[1]
	seconds, err := strconv.ParseFloat(args[2], 64)
	if err != nil {
		return err
	}
	speed := 1.0
	if len(args) > 3 {
		if speed, err = strconv.ParseFloat(args[3], 64); err != nil {
			return err
		}
	}
	boot := uint32(time.Now().Unix()) // another number whenever seq begins again
	topic := func(kind string) string { return "ds/v1/" + device + "/" + kind }

	broker := strings.Replace(url, "mqtt://", "tcp://", 1) // what this library calls it
	options := mqtt.NewClientOptions().AddBroker(broker).SetClientID("ds-v1-" + device).SetProtocolVersion(4)
	options.SetBinaryWill(topic("status"), statusOf("offline", boot, false), 1, true)
	// After each connect, because the broker may have published the last will meanwhile.
	options.SetOnConnectHandler(func(client mqtt.Client) {
		client.Publish(topic("meta"), 1, true, description())
		client.Publish(topic("status"), 1, true, statusOf("online", boot, true))
	})
	client := mqtt.NewClient(options)
	if err := wait(client.Connect()); err != nil {
		return fmt.Errorf("%s: %w", url, err)
	}

	var unconfirmed []mqtt.Token
	start := time.Now().UnixNano() / 1000
	for seq := uint32(0); float64(seq)*rows/fs < seconds; seq++ {
		time.Sleep(time.Duration(rows / fs / speed * float64(time.Second))) // until it is measured
		first := int(seq) * rows
		head := header{0xD5, 0x10, channels, 0, fs, boot, seq, uint64(start + int64(first)*1e6/fs)}
		unconfirmed = append(unconfirmed, client.Publish(topic("raw"), 1, false, packed(head, samples(first))))
	}
	for _, token := range unconfirmed { // PUBACK: the broker has them
		if err := wait(token); err != nil {
			return err
		}
	}
	if err := wait(client.Publish(topic("status"), 1, true, statusOf("offline", boot, true))); err != nil {
		return err
	}
	client.Disconnect(250) // no last will
	return nil
}

func wait(token mqtt.Token) error {
	if !token.WaitTimeout(patience) {
		return fmt.Errorf("the broker does not answer within %s", patience)
	}
	return token.Error()
}

func packed(head header, counts []int16) []byte {
	var out bytes.Buffer
	for _, part := range []interface{}{head, counts} {
		if err := binary.Write(&out, binary.LittleEndian, part); err != nil {
			panic(err) // a value of no fixed size, which neither is
		}
	}
	return out.Bytes()
}

// samples gives rows of counts from row first on: somebody walks.
func samples(first int) []int16 {
	counts := make([]int16, 0, rows*channels)
	for row := first; row < first+rows; row++ {
		t := float64(row) / fs
		values := []float64{
			0.1 * math.Sin(6*t) / accG, 0.2 * math.Cos(5*t) / accG, (1 + 0.3*math.Sin(12*t)) / accG,
			20 * math.Sin(6*t) / gyroDps, 10 * math.Cos(5*t) / gyroDps, 5 * math.Sin(3*t) / gyroDps,
		}
		for _, value := range values {
			counts = append(counts, int16(math.Round(value)))
		}
	}
	return counts
}

func description() []byte {
	return encode(meta{
		"disc-stream.meta/1", fs,
		[]string{"acc_x", "acc_y", "acc_z", "gyro_x", "gyro_y", "gyro_z"},
		[]string{"g", "g", "g", "deg/s", "deg/s", "deg/s"},
		[]float64{accG, accG, accG, gyroDps, gyroDps, gyroDps},
		"examples/go",
	})
}

func statusOf(state string, boot uint32, known bool) []byte {
	message := status{"disc-stream.status/1", state, boot, nil}
	if known {
		now := time.Now().UnixNano() / 1000
		message.Since = &now
	}
	return encode(message)
}

func encode(message interface{}) []byte {
	data, err := json.Marshal(message)
	if err != nil {
		panic(err) // a value that JSON has no word for, which there is none of
	}
	return data
}
