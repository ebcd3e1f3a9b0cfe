/** Polls while the page is visible: one request at a time, at longer intervals while there is no answer. */

const INTERVAL_MS = 1000;
const MAX_INTERVAL_MS = 8000;

/**
 * @template T
 * @param {() => Promise<T>} ask
 * @param {(answer: T) => void} onAnswer
 * @param {(error: any) => void} onError
 * @returns {{now: () => void}} `now` polls immediately.
 */
export function poll(ask, onAnswer, onError) {
  let timer = 0;
  let asking = false;
  let waitMs = INTERVAL_MS;

  async function turn() {
    clearTimeout(timer);
    if (asking || document.hidden) return;
    asking = true;
    try {
      const answer = await ask();
      waitMs = INTERVAL_MS;
      onAnswer(answer);
    } catch (error) {
      waitMs = Math.min(MAX_INTERVAL_MS, waitMs * 2);
      onError(error);
    } finally {
      asking = false;
      timer = setTimeout(turn, waitMs);
    }
  }

  document.addEventListener("visibilitychange", turn);
  turn();
  return { now: turn };
}
