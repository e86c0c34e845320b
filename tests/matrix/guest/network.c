/*
 * network:DRIVER:NET,PORT: datagrams to a server of the host, and back.
 *
 * The user-mode network has the address 10.0.NET.0; the server is behind
 * 10.0.NET.2.  It answers each datagram with the complement of its bytes.  One
 * is on its way at the save.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "exercise.h"

#define SIZE        600     /* of a datagram */
#define TRIES       100     /* datagrams may be lost */
#define TRY_MS      100

typedef struct Network {
    int fd;
    uint32_t serial;        /* of the next datagram */
} Network;

static void network_open(Device *dev)
{
    struct sockaddr_in peer = { .sin_family = AF_INET };
    Network *n = dev->state = allocate(sizeof(*n));
    unsigned int net, port;
    char name[64], address[32];

    if (sscanf(dev->argument, "%u,%u", &net, &port) != 2) {
        fail("no NET,PORT");
    }
    find_device("net", dev->driver, "", name, sizeof(name));
    run("ifconfig %s 10.0.%u.15 netmask 255.255.255.0 up", name, net);
    snprintf(address, sizeof(address), "10.0.%u.2", net);
    peer.sin_port = htons(port);
    inet_pton(AF_INET, address, &peer.sin_addr);
    n->fd = socket(AF_INET, SOCK_DGRAM, 0);
    if (n->fd < 0 ||
        connect(n->fd, (struct sockaddr *)&peer, sizeof(peer)) < 0) {
        fail("%s: %s", address, strerror(errno));
    }
}

/* What makes a datagram differ from all others, those of the future too */
static void fill_datagram(const Network *n, uint32_t round, uint8_t *data)
{
    for (size_t i = 0; i < SIZE; i++) {
        data[i] = i + n->serial;
    }
    memcpy(data, &round, sizeof(round));
    memcpy(data + sizeof(round), &n->serial, sizeof(n->serial));
}

static void send_datagram(Network *n, uint32_t round)
{
    uint8_t data[SIZE];

    fill_datagram(n, round, data);
    /* An error is that of an earlier datagram; there will be another. */
    if (send(n->fd, data, SIZE, 0) < 0 && errno != ECONNREFUSED) {
        fail("send: %s", strerror(errno));
    }
}

/* Is there an answer to the datagram that was sent? */
static bool answered(Network *n, uint32_t round)
{
    uint8_t data[SIZE], answer[SIZE + 1];
    ssize_t size;

    while (wait_readable(n->fd, TRY_MS)) {
        size = recv(n->fd, answer, sizeof(answer), 0);
        fill_datagram(n, round, data);
        for (size_t i = 0; i < SIZE; i++) {
            data[i] = ~data[i];
        }
        if (size == SIZE && !memcmp(data, answer, 2 * sizeof(uint32_t))) {
            if (memcmp(data, answer, SIZE)) {
                fail("an answer is not what was sent");
            }
            return true;
        }
    }
    return false;
}

static void network_use(Device *dev, uint32_t round)
{
    Network *n = dev->state;

    for (int i = 0; i < TRIES; i++) {
        n->serial++;
        send_datagram(n, round);
        if (answered(n, round)) {
            return;
        }
    }
    fail("no answer to %d datagrams", TRIES);
}

static void network_begin(Device *dev)
{
    Network *n = dev->state;

    n->serial++;
    send_datagram(n, 0);
}

/* The answer comes once, and not again after a restore. */
static void network_finish(Device *dev, uint32_t round)
{
    Network *n = dev->state;

    if (round || !answered(n, 0)) {
        network_use(dev, round);
    }
}

const Kind network_kind = {
    "network", network_open, network_use, network_begin, network_finish
};
