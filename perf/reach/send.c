/* As many bare calls of send(2) as there are descriptors: what a message to all costs at the least. Loaded by ctypes. */
#include <sys/socket.h>

int send_all(const int *descriptors, int count, const char *bytes, long length)
{
    int sent = 0;

    for (int i = 0; i < count; i++)
        sent += send(descriptors[i], bytes, length, MSG_NOSIGNAL | MSG_DONTWAIT) == length;
    return sent;
}
