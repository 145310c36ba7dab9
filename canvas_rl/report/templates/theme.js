// Light or dark, before anything is painted: what was chosen here last, else what the system prefers.
(() => {
  const system = matchMedia("(prefers-color-scheme: dark)");
  let chosen = null;
  try {
    chosen = localStorage.getItem("canvas_rl-theme");
  } catch {
    // pages opened from a file may have no storage
  }
  const show = () => {
    document.documentElement.dataset.theme = chosen ?? (system.matches ? "dark" : "light");
    document.dispatchEvent(new Event("themechange"));
  };
  show();
  system.addEventListener("change", show);
  document.addEventListener("DOMContentLoaded", () => {
    document.getElementById("theme").addEventListener("click", () => {
      chosen = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
      try {
        localStorage.setItem("canvas_rl-theme", chosen);
      } catch {
        // then it holds for this page alone
      }
      show();
    });
  });
})();
