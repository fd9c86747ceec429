/* Serves one page to every request on the port that PORT names. */
#include <arpa/inet.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static char page[1 << 16];

static size_t load(const char *path)
{
    FILE *file = fopen(path, "r");
    if (!file) {
        perror(path);
        exit(1);
    }
    size_t size = fread(page, 1, sizeof page, file);
    fclose(file);
    return size;
}

static int listen_on(int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    int server = socket(AF_INET, SOCK_STREAM, 0), on = 1;
    setsockopt(server, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(server, (struct sockaddr *)&address, sizeof address) || listen(server, 16)) {
        perror("listen");
        exit(1);
    }
    return server;
}

static void answer(int client, size_t size)
{
    char request[4096];
    if (read(client, request, sizeof request) > 0) {
        dprintf(client, "HTTP/1.0 200 OK\r\nContent-Type: text/html\r\nContent-Length: %zu\r\n\r\n", size);
        if (write(client, page, size) < 0)
            perror("write");
    }
    close(client);
}

int main(int argc, char **argv)
{
    if (argc > 1 && !strcmp(argv[1], "--version"))
        return puts("hello " VERSION) < 0;
    const char *port = getenv("PORT");
    size_t size = load(argc > 1 ? argv[1] : "page.html");
    int server = listen_on(port ? atoi(port) : 8080);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGTERM, _exit);
    printf("hello %s, user %d, listening on port %s\n", VERSION, (int)getuid(), port ? port : "8080");
    fflush(stdout);
    for (;;)
        answer(accept(server, NULL, NULL), size);
}
