//! Questions that come at the same time, answered by one statement, on PostgreSQL.
//!
//! A message to the engine and its answer cost as much as what a short statement does in between. While one is under
//! way, what else is asked waits, and goes together with the next. So nobody waits who is alone, and a statement that
//! answers a question was begun after it was asked: what had been committed before is in it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::future::BoxFuture;
use tokio::runtime::{Handle, Id};
use tokio::sync::oneshot;

use crate::error::StoreError;
use crate::postgres::lines::Lines;

/// Most questions of one statement.
const BATCH: usize = 64;

/// Answers to questions, as many and in their order.
pub(crate) type Answers<'a, A> = BoxFuture<'a, Result<Vec<A>, StoreError>>;

/// Where questions of one kind wait.
pub(crate) struct Gather<Q, A> {
    /// How they are answered.
    answer: for<'a> fn(&'a Lines, &'a [Q]) -> Answers<'a, A>,
    /// By the runtime that asks, so that no thread waits for another.
    queues: Arc<Mutex<HashMap<Id, Queue<Q, A>>>>,
}

struct Queue<Q, A> {
    waiting: Vec<(Q, oneshot::Sender<Result<A, StoreError>>)>,
    /// Whether somebody serves it.
    is_served: bool,
}

impl<Q: Clone + Send + Sync + 'static, A: Send + 'static> Gather<Q, A> {
    pub(crate) fn new(answer: for<'a> fn(&'a Lines, &'a [Q]) -> Answers<'a, A>) -> Self {
        Gather { answer, queues: Arc::default() }
    }

    /// The answer to a question.
    pub(crate) async fn ask(&self, lines: &Lines, question: Q) -> Result<A, StoreError> {
        let (answer, answered) = oneshot::channel();
        let here = Handle::current();
        let is_first = {
            let mut queues = self.lock();
            let queue = queues.entry(here.id()).or_insert_with(|| Queue { waiting: Vec::new(), is_served: false });
            queue.waiting.push((question, answer));
            !std::mem::replace(&mut queue.is_served, true)
        };
        if is_first {
            // Of its own: who asked first may go away.
            here.spawn(self.clone().serve(here.id(), lines.clone()));
        }
        answered.await.unwrap_or(Err(StoreError::Stopped))
    }

    async fn serve(self, runtime: Id, lines: Lines) {
        let mut serving = Serving { gather: &self, runtime, is_over: false };
        loop {
            // Whoever can ask now does so first.
            tokio::task::yield_now().await;
            let (questions, waiting): (Vec<Q>, Vec<_>) = self.taken(runtime).into_iter().unzip();
            if questions.is_empty() {
                serving.is_over = true;
                return;
            }
            match (self.answer)(&lines, &questions).await {
                Ok(answers) => waiting.into_iter().zip(answers).for_each(|(waiting, answer)| {
                    // Who asked may be gone.
                    let _gone = waiting.send(Ok(answer));
                }),
                // One after another would each wait as long as all of them have.
                Err(error) if questions.len() == 1 || error.concerns_all() => waiting.into_iter().for_each(|waiting| {
                    let _gone = waiting.send(Err(error.again()));
                }),
                // What one of them asked wrongly is not the others' fault.
                Err(_) => self.answer_apart(&lines, &questions, waiting).await,
            }
        }
    }

    async fn answer_apart(&self, lines: &Lines, questions: &[Q], waiting: Vec<oneshot::Sender<Result<A, StoreError>>>) {
        for (question, waiting) in questions.iter().zip(waiting) {
            let answers = (self.answer)(lines, std::slice::from_ref(question)).await;
            let answer = answers.and_then(|answers| answers.into_iter().next().ok_or(StoreError::Stopped));
            let _gone = waiting.send(answer);
        }
    }

    /// Some that wait; none: from now on nobody serves.
    fn taken(&self, runtime: Id) -> Vec<(Q, oneshot::Sender<Result<A, StoreError>>)> {
        let mut queues = self.lock();
        let Some(queue) = queues.get_mut(&runtime) else { return Vec::new() };
        queue.waiting.retain(|(_, answer)| !answer.is_closed());
        let count = queue.waiting.len().min(BATCH);
        queue.is_served = count > 0;
        queue.waiting.drain(..count).collect()
    }
}

impl<Q, A> Gather<Q, A> {
    fn lock(&self) -> MutexGuard<'_, HashMap<Id, Queue<Q, A>>> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Somebody serves a queue. Should that end before its time, nobody waits for an answer that never comes.
struct Serving<'a, Q, A> {
    gather: &'a Gather<Q, A>,
    runtime: Id,
    is_over: bool,
}

impl<Q, A> Drop for Serving<'_, Q, A> {
    fn drop(&mut self) {
        if !self.is_over {
            self.gather.lock().remove(&self.runtime);
        }
    }
}

impl<Q, A> Clone for Gather<Q, A> {
    fn clone(&self) -> Self {
        Gather { answer: self.answer, queues: self.queues.clone() }
    }
}

impl<Q, A> std::fmt::Debug for Gather<Q, A> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Gather")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;

    static STATEMENTS: AtomicUsize = AtomicUsize::new(0);

    fn doubled<'a>(_: &'a Lines, questions: &'a [i64]) -> Answers<'a, i64> {
        Box::pin(async move {
            STATEMENTS.fetch_add(1, Ordering::Relaxed);
            tokio::task::yield_now().await;
            if questions.contains(&13) {
                return Err(StoreError::Conflict);
            }
            Ok(questions.iter().map(|number| 2 * number).collect())
        })
    }

    static OUTAGES: AtomicUsize = AtomicUsize::new(0);

    fn nobody_answers<'a>(_: &'a Lines, _: &'a [i64]) -> Answers<'a, i64> {
        Box::pin(async move {
            OUTAGES.fetch_add(1, Ordering::Relaxed);
            Err(sea_orm::DbErr::ConnectionAcquire(sea_orm::ConnAcquireErr::Timeout).into())
        })
    }

    #[tokio::test]
    async fn what_fails_for_all_is_not_asked_one_by_one() {
        let lines =
            crate::postgres::relaxed_line("postgres://nobody@127.0.0.1:1/none", Duration::from_secs(1)).expect("lines");
        let gather = Gather::new(nobody_answers);
        let answers = futures::future::join_all((0..20).map(|number| gather.ask(&lines, number))).await;
        assert!(answers.iter().all(|answer| answer.as_ref().is_err_and(StoreError::is_overload)));
        assert_eq!(OUTAGES.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn what_is_asked_at_once_is_one_statement_and_a_wrong_question_fails_alone() {
        let lines =
            crate::postgres::relaxed_line("postgres://nobody@127.0.0.1:1/none", Duration::from_secs(1)).expect("lines");
        let gather = Gather::new(doubled);
        let all = |numbers: std::ops::Range<i64>| numbers.map(|number| gather.ask(&lines, number));
        let answers = futures::future::join_all(all(20..84)).await;
        let answers: Vec<i64> = answers.into_iter().map(|answer| answer.expect("answered")).collect();
        assert_eq!(answers, (20..84).map(|number| 2 * number).collect::<Vec<_>>());
        assert_eq!(STATEMENTS.swap(0, Ordering::Relaxed), 1);
        let answers = futures::future::join_all(all(10..20)).await;
        let failed: Vec<usize> = (0..10).filter(|at| answers[*at].is_err()).collect();
        assert_eq!(failed, [3]);
        // Who goes away before the answer leaves nobody waiting.
        assert!(futures::FutureExt::now_or_never(gather.ask(&lines, 1)).is_none());
        assert_eq!(gather.ask(&lines, 2).await.expect("answered"), 4);
    }
}
