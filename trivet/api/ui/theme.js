/** The theme: light, dark or that of the system; one button cycles through them. */

const KEY = "trivet-theme";
const ORDER = ["system", "light", "dark"];

/** @param {HTMLButtonElement} button */
export function wireTheme(button) {
  let theme = localStorage.getItem(KEY) ?? "system";
  if (!ORDER.includes(theme)) theme = "system";
  const show = () => {
    if (theme === "system") document.documentElement.removeAttribute("data-theme");
    else document.documentElement.setAttribute("data-theme", theme);
    button.textContent = `Theme: ${theme}`;
  };
  button.addEventListener("click", () => {
    theme = ORDER[(ORDER.indexOf(theme) + 1) % ORDER.length];
    localStorage.setItem(KEY, theme);
    show();
  });
  show();
}
