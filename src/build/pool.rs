//! A few named threads that take jobs in the order they were given.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

type Job = Box<dyn FnOnce() + Send>;

/// Threads that work off a queue. Dropping the pool waits for the jobs that it holds.
#[derive(Debug)]
pub(crate) struct Pool {
    queue: Option<Sender<Job>>,
    threads: Vec<JoinHandle<()>>,
}

impl Pool {
    /// Starts `size` threads called `name`.
    pub(crate) fn start(name: &'static str, size: usize) -> std::io::Result<Self> {
        let (queue, jobs) = channel::<Job>();
        let jobs = Arc::new(Mutex::new(jobs));
        let spawn = |_| {
            let jobs = Arc::clone(&jobs);
            std::thread::Builder::new()
                .name(name.to_owned())
                .spawn(move || work(&jobs))
        };
        let threads = (0..size).map(spawn).collect::<Result<_, _>>()?;
        Ok(Self {
            queue: Some(queue),
            threads,
        })
    }

    /// Adds a job to the end of the queue.
    pub(crate) fn submit(&self, job: impl FnOnce() + Send + 'static) {
        if let Some(queue) = &self.queue {
            // The threads live as long as the queue, so somebody receives this.
            let _ = queue.send(Box::new(job));
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.queue = None;
        for thread in self.threads.drain(..) {
            // A job that panicked has been reported by the panic itself.
            let _ = thread.join();
        }
    }
}

fn work(jobs: &Mutex<Receiver<Job>>) {
    loop {
        // Held while waiting: the next job goes to whichever thread holds the lock.
        let next = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        match next {
            Ok(job) => job(),
            Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn every_job_is_done_before_the_pool_is_gone() {
        let done = Arc::new(AtomicUsize::new(0));
        let pool = Pool::start("test", 3).unwrap();
        for _ in 0..100 {
            let done = Arc::clone(&done);
            pool.submit(move || {
                done.fetch_add(1, Ordering::Relaxed);
            });
        }
        drop(pool);
        assert_eq!(done.load(Ordering::Relaxed), 100);
    }
}
