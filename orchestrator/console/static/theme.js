/* Light or dark: as the system has it, until somebody chooses. */

const CHOICE = "orchestrator.theme";
const ORDER = ["system", "light", "dark"];
const NAMES = { system: "as the system", light: "light", dark: "dark" };
const dark = matchMedia("(prefers-color-scheme: dark)");

function chosen() {
  const held = localStorage.getItem(CHOICE);
  return ORDER.includes(held) ? held : "system";
}

function apply(choice) {
  const shown = choice === "system" ? (dark.matches ? "dark" : "light") : choice;
  document.documentElement.dataset.theme = shown;
}

/** Makes a button go through the choices. */
export function wire(button) {
  const show = () => {
    const choice = chosen();
    apply(choice);
    button.dataset.choice = choice;
    button.setAttribute("aria-label", `Colours: ${NAMES[choice]}`);
    button.title = `Colours: ${NAMES[choice]}`;
  };
  button.addEventListener("click", () => {
    localStorage.setItem(CHOICE, ORDER[(ORDER.indexOf(chosen()) + 1) % ORDER.length]);
    show();
  });
  dark.addEventListener("change", show);
  show();
}
