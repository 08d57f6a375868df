package importrules

import "go/ast"

// selectors returns every name that file selects from the package called pkg.
func selectors(file *ast.File, pkg string) (names []string) {
	ast.Inspect(file, func(n ast.Node) bool {
		s, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		if x, ok := s.X.(*ast.Ident); ok && x.Name == pkg {
			names = append(names, s.Sel.Name)
		}
		return true
	})
	return names
}
