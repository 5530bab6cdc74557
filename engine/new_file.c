/* new_file.c - a file that is there whole or not at all.
 *
 *   PATH.XXXXXX   written, synced, closed     a crash leaves this behind, never half a PATH;
 *   PATH.part                                 so called where the work goes on from it
 *   rename        PATH is the new file        atomic: who opens PATH sees the old or the new
 *   fsync folder  the name survives a power cut */
#include "engine/new_file.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* A rename would replace a device or fail on a folder only at the end, after all the work:
 * both are refused here. */
static err name(new_file *f, const char *path, const char *ending)
{
    struct stat s;

    *f = NEW_FILE_NONE;
    if (stat(path, &s) == 0 && !S_ISREG(s.st_mode)) {
        errno = S_ISDIR(s.st_mode) ? EISDIR : EPERM;
        return ERR_SYSTEM;
    }
    f->path = strdup(path);
    if (!f->path || asprintf(&f->temporary, "%s%s", path, ending) < 0) {
        f->temporary = NULL;
        return ERR_NOMEM;
    }
    return ERR_OK;
}

err new_file_open(new_file *f, const char *path)
{
    TRY(name(f, path, ".XXXXXX"));
    f->fd = mkostemp(f->temporary, O_CLOEXEC);
    return f->fd < 0 ? ERR_SYSTEM : ERR_OK;
}

/* Lasting from the first moment: what cannot be locked is another's, and not to be removed. */
err new_file_open_part(new_file *f, const char *path)
{
    TRY(name(f, path, ".part"));
    f->lasting = true;
    f->fd = open(f->temporary, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (f->fd < 0) return ERR_SYSTEM;
    if (flock(f->fd, LOCK_EX | LOCK_NB) == 0) return ERR_OK;
    if (errno == EWOULDBLOCK) errno = EBUSY;
    return ERR_SYSTEM;
}

err new_file_write(new_file *f, const void *data, size_t n)
{
    const char *at = data;

    while (n) {
        const ssize_t wrote = write(f->fd, at, n);

        if (wrote < 0 && errno == EINTR) continue;
        if (wrote <= 0) return ERR_SYSTEM;
        at += wrote;
        n -= (size_t)wrote;
    }
    return ERR_OK;
}

/* The new name itself must reach the disk too. */
static void sync_folder(const char *path)
{
    char *copy = strdup(path);
    const int fd = copy ? open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;

    if (fd >= 0) {
        (void)fsync(fd);
        close(fd);
    }
    free(copy);
}

/* mkostemp makes files for their owner alone, so the mode is set here. close is checked,
 * since NFS reports a full disk there. */
err new_file_keep(new_file *f)
{
    int closed;

    if (fchmod(f->fd, 0644) != 0 || fsync(f->fd) != 0) return ERR_SYSTEM;
    closed = close(f->fd);
    f->fd = -1;
    if (closed != 0 || rename(f->temporary, f->path) != 0) return ERR_SYSTEM;
    free(f->temporary);
    f->temporary = NULL;
    sync_folder(f->path);
    return ERR_OK;
}

void new_file_drop(new_file *f)
{
    const int kept = errno;

    if (f->fd >= 0) close(f->fd);
    if (f->temporary && !f->lasting) unlink(f->temporary);
    free(f->temporary);
    free(f->path);
    *f = NEW_FILE_NONE;
    errno = kept;
}
