/** Asks again and again while somebody looks: never two questions at once, slower while nobody answers. */

const EVERY_MS = 1000;
const SLOWEST_MS = 8000;

/**
 * @template T
 * @param {() => Promise<T>} ask
 * @param {(answer: T) => void} onAnswer
 * @param {(error: any) => void} onError
 * @returns {{now: () => void}} `now` asks at once.
 */
export function poll(ask, onAnswer, onError) {
  let timer = 0;
  let asking = false;
  let waitMs = EVERY_MS;

  async function turn() {
    clearTimeout(timer);
    if (asking || document.hidden) return;
    asking = true;
    try {
      const answer = await ask();
      waitMs = EVERY_MS;
      onAnswer(answer);
    } catch (error) {
      waitMs = Math.min(SLOWEST_MS, waitMs * 2);
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
