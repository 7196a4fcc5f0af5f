/* A kernel with ip_vs, as far as ipvsadm can tell: its getsockopt and setsockopt calls work on a file.
 *
 * Linux: include/uapi/linux/ip_vs.h, net/netfilter/ipvs/ip_vs_ctl.c do_ip_vs_set_ctl(), do_ip_vs_get_ctl()
 * Used by test_ipvsadm_format.py: LD_PRELOAD, FAKE_IP_VS (the state), FAKE_IP_VS_CONN (/proc/net/ip_vs_conn).
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <linux/ip_vs.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define MOST 64

struct server {
	struct ip_vs_service_entry entry;
	struct ip_vs_dest_entry dests[MOST];
};

static struct {
	unsigned int count;
	struct server servers[MOST];
} state;

static void with_file(const char *mode)
{
	FILE *(*open_it)(const char *, const char *) = dlsym(RTLD_NEXT, "fopen");
	FILE *file = open_it(getenv("FAKE_IP_VS"), mode);

	if (!file)
		return;
	if (*mode == 'r' ? fread(&state, sizeof(state), 1, file) : fwrite(&state, sizeof(state), 1, file))
		fclose(file);
}

static int find(const struct ip_vs_service_user *wanted)
{
	for (unsigned int i = 0; i < state.count; i++) {
		struct ip_vs_service_entry *e = &state.servers[i].entry;

		if (e->fwmark == wanted->fwmark &&
		    (e->fwmark || (e->protocol == wanted->protocol && e->addr == wanted->addr && e->port == wanted->port)))
			return i;
	}
	return -1;
}

static int find_dest(struct server *server, const struct ip_vs_dest_user *wanted)
{
	for (unsigned int i = 0; i < server->entry.num_dests; i++)
		if (server->dests[i].addr == wanted->addr && server->dests[i].port == wanted->port)
			return i;
	return -1;
}

static int refuse(int number)
{
	errno = number;
	return -1;
}

static void fill(struct ip_vs_service_entry *e, const struct ip_vs_service_user *svc)
{
	e->protocol = svc->protocol;
	e->addr = svc->addr;
	e->port = svc->port;
	e->fwmark = svc->fwmark;
	memcpy(e->sched_name, svc->sched_name, sizeof(e->sched_name));
	e->flags = svc->flags;
	e->timeout = svc->timeout;
	e->netmask = svc->netmask;
}

static int change_dest(int name, struct server *server, const struct ip_vs_dest_user *dest)
{
	int at = find_dest(server, dest);
	unsigned int *count = &server->entry.num_dests;

	if (name == IP_VS_SO_SET_ADDDEST) {
		if (at >= 0)
			return refuse(EEXIST);
		at = (*count)++;
		memset(&server->dests[at], 0, sizeof(server->dests[at]));
	} else if (at < 0) {
		return refuse(ENOENT);
	} else if (name == IP_VS_SO_SET_DELDEST) {
		server->dests[at] = server->dests[--*count];
		return 0;
	}
	server->dests[at].addr = dest->addr;
	server->dests[at].port = dest->port;
	server->dests[at].conn_flags = dest->conn_flags;
	server->dests[at].weight = dest->weight;
	return 0;
}

static int change(int name, const void *value)
{
	const struct ip_vs_service_user *svc = value;
	int at;

	if (name == IP_VS_SO_SET_FLUSH) {
		state.count = 0;
		return 0;
	}
	at = find(svc);
	if (name == IP_VS_SO_SET_ADD) {
		if (at >= 0)
			return refuse(EEXIST);
		if (strcmp(svc->sched_name, "foo") == 0)
			return refuse(ENOENT);
		at = state.count++;
		memset(&state.servers[at], 0, sizeof(state.servers[at]));
		fill(&state.servers[at].entry, svc);
		return 0;
	}
	if (at < 0)
		return refuse(ESRCH);
	if (name == IP_VS_SO_SET_EDIT)
		fill(&state.servers[at].entry, svc);
	else if (name == IP_VS_SO_SET_DEL)
		state.servers[at] = state.servers[--state.count];
	else if (name == IP_VS_SO_SET_ADDDEST || name == IP_VS_SO_SET_DELDEST || name == IP_VS_SO_SET_EDITDEST)
		return change_dest(name, &state.servers[at], (const void *)(svc + 1));
	return 0;
}

int setsockopt(int fd, int level, int name, const void *value, socklen_t size)
{
	int (*real)(int, int, int, const void *, socklen_t) = dlsym(RTLD_NEXT, "setsockopt");
	int done;

	if (level != IPPROTO_IP || name < IP_VS_BASE_CTL || name > IP_VS_SO_SET_MAX)
		return real(fd, level, name, value, size);
	with_file("r");
	done = change(name, value);
	with_file("w");
	return done;
}

static int show_dests(struct ip_vs_get_dests *get)
{
	struct ip_vs_service_user wanted = {
		.protocol = get->protocol, .addr = get->addr, .port = get->port, .fwmark = get->fwmark,
	};
	int at = find(&wanted);

	if (at < 0)
		return refuse(ESRCH);
	get->num_dests = state.servers[at].entry.num_dests;
	memcpy(get->entrytable, state.servers[at].dests, get->num_dests * sizeof(struct ip_vs_dest_entry));
	return 0;
}

static int show_service(struct ip_vs_service_entry *entry)
{
	struct ip_vs_service_user wanted = {
		.protocol = entry->protocol, .addr = entry->addr, .port = entry->port, .fwmark = entry->fwmark,
	};
	int at = find(&wanted);

	if (at < 0)
		return refuse(ESRCH);
	*entry = state.servers[at].entry;
	return 0;
}

int getsockopt(int fd, int level, int name, void *value, socklen_t *size)
{
	int (*real)(int, int, int, void *, socklen_t *) = dlsym(RTLD_NEXT, "getsockopt");

	if (level != IPPROTO_IP || name < IP_VS_BASE_CTL || name > IP_VS_SO_GET_MAX)
		return real(fd, level, name, value, size);
	with_file("r");
	if (name == IP_VS_SO_GET_INFO) {
		struct ip_vs_getinfo *info = value;

		*info = (struct ip_vs_getinfo){ .version = 0x010201, .size = 4096, .num_services = state.count };
	} else if (name == IP_VS_SO_GET_SERVICES) {
		struct ip_vs_get_services *get = value;

		get->num_services = state.count;
		for (unsigned int i = 0; i < state.count; i++)
			get->entrytable[i] = state.servers[i].entry;
	} else if (name == IP_VS_SO_GET_DESTS) {
		return show_dests(value);
	} else if (name == IP_VS_SO_GET_SERVICE) {
		return show_service(value);
	} else if (name == IP_VS_SO_GET_TIMEOUT) {
		*(struct ip_vs_timeout_user *)value = (struct ip_vs_timeout_user){ 900, 120, 300 };
	}
	return 0;
}

FILE *fopen(const char *path, const char *mode)
{
	FILE *(*real)(const char *, const char *) = dlsym(RTLD_NEXT, "fopen");

	return real(strcmp(path, "/proc/net/ip_vs_conn") ? path : getenv("FAKE_IP_VS_CONN"), mode);
}
