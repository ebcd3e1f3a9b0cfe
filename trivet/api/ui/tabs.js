/** A tab list that follows the ARIA practices: arrows move, Home and End jump, one tab is in the tab order. */

/** @param {HTMLElement} tablist */
export function wireTabs(tablist) {
  /** @type {HTMLElement[]} */
  const tabs = [...tablist.querySelectorAll('[role="tab"]')].map((tab) => /** @type {HTMLElement} */ (tab));

  /** @param {HTMLElement} chosen */
  function select(chosen) {
    for (const tab of tabs) {
      const selected = tab === chosen;
      tab.setAttribute("aria-selected", String(selected));
      tab.tabIndex = selected ? 0 : -1;
      const panel = document.getElementById(tab.getAttribute("aria-controls") ?? "");
      if (panel) panel.hidden = !selected;
    }
  }

  tablist.addEventListener("click", (event) => {
    const tab = /** @type {HTMLElement} */ (event.target).closest('[role="tab"]');
    if (tab instanceof HTMLElement) select(tab);
  });
  tablist.addEventListener("keydown", (event) => {
    const at = tabs.indexOf(/** @type {HTMLElement} */ (document.activeElement));
    const steps = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: tabs.length - 1 };
    const to = steps[/** @type {keyof typeof steps} */ (event.key)];
    if (to === undefined || at < 0) return;
    event.preventDefault();
    const next = tabs[(to + tabs.length) % tabs.length];
    select(next);
    next.focus();
  });
  select(tabs[0]);
}
